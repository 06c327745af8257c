/** Milliseconds of the system's monotonic clock, which is the same in all processes of the machine. */
export function nowMs() {
  return Number(process.hrtime.bigint()) / 1e6;
}
