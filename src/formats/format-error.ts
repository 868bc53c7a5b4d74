/** What every format reader throws for input that is not what it claims to be. */

/** Names the file, the field and the field's offset, so that a person can look at the very bytes. */
export class FormatError extends Error {
  override name = 'FormatError';
  readonly file: string;
  readonly field: string;
  /** Of the field, in bytes from the start of the file. */
  readonly offset: number;
  readonly problem: string;

  constructor(file: string, field: string, offset: number, problem: string) {
    super(`${file}: ${field} at offset 0x${offset.toString(16)}: ${problem}`);
    this.file = file;
    this.field = field;
    this.offset = offset;
    this.problem = problem;
  }
}
