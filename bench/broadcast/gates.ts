// What has to hold after a run, and the lines that say whether it does.

/** A figure and its limit. */
export interface Gate {
  readonly what: string;
  readonly figure: number;
  readonly limit: number;
}

/** Prints each gate and the first faults. Returns whether all gates hold. */
export function printGates(gates: readonly Gate[], faults: readonly string[]): boolean {
  let all = true;
  for (const { what, figure, limit } of gates) {
    const holds = figure <= limit;
    all &&= holds;
    console.log(`${holds ? 'holds' : 'FAILS'}  ${what}: ${Number(figure.toFixed(3))} <= ${limit}`);
  }
  for (const fault of faults.slice(0, 10)) console.log(`       ${fault}`);
  return all;
}
