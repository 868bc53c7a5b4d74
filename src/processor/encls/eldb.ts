/**
 * ELDB: bring an evicted page back in the state BLOCKED, ready to be evicted again.
 * Spec: SDM "ELDB/ELDU/ELDBC/ELBUC - Load an EPC Page and Mark its State".
 */
import type { LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import type { Processor } from '../processor.ts';
import { eldu, type ElduOperands } from './eldu.ts';

/** As ELDU in everything else. Nobody has had a translation of the page yet, so its eviction needs no tracking. */
export function eldb(
  cpu: Processor,
  operands: ElduOperands,
  page: EpcIndex,
  vaPage: EpcIndex,
  vaSlot: number,
): LeafResult {
  const loaded = eldu(cpu, operands, page, vaPage, vaSlot);
  if (loaded.kind === 'ok') cpu.epcm.block(page);
  return loaded;
}
