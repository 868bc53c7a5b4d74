/** Sizes as people write them. */
import { InvalidArgumentError } from 'commander';

const factors: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
const MIN_EPC_BYTES = 2 ** 18;
const MAX_EPC_BYTES = 2 ** 36;

/** `64M`, `512K`, `1G` or plain bytes, as bytes; whole pages, between 256K and 64G. */
export function parseEpcSize(text: string): number {
  const match = /^(\d+)([KMG]?)(?:i?B)?$/i.exec(text);
  if (match === null) throw new InvalidArgumentError(`write a number with K, M or G, for example 64M.`);
  const bytes = Number(match[1]) * factors[match[2]!.toUpperCase()]!;
  if (bytes % 4096 !== 0) throw new InvalidArgumentError(`${bytes} bytes are not whole pages of 4096.`);
  if (bytes < MIN_EPC_BYTES || bytes > MAX_EPC_BYTES) throw new InvalidArgumentError('possible is 256K to 64G.');
  return bytes;
}
