// Who is to hear, when a batch has been taken by the transport, how many of their bytes were in it.

/** Who sent bytes that were referenced and wants to know when they are on their way. */
export interface Sender {
  onHandedOver(bytes: number): void;
}

export class Reports {
  private readonly senders: Sender[] = [];
  private readonly amounts: number[] = [];

  add(sender: Sender, bytes: number): void {
    this.senders.push(sender);
    this.amounts.push(bytes);
  }

  tell(): void {
    for (let i = 0; i < this.senders.length; i++) this.senders[i].onHandedOver(this.amounts[i]);
  }
}
