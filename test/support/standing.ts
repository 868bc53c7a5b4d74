/** Standing machines of a test's own, found by nobody else. */
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, Status } from '../../src/attach/standing/protocol.ts';
import { vitrineIn } from './command.ts';
import { TargetRun, type Ended } from './target-run.ts';

export class Runtime {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'vitrine-runtime-'));
  readonly env = { XDG_RUNTIME_DIR: this.folder };

  /** `vitrine machine ...` */
  machine(...args: readonly string[]): Promise<Ended> {
    return vitrineIn({ env: this.env }, 'machine', ...args);
  }

  /** `vitrine run --join NAME -- ...` */
  join(name: string, command: readonly string[], input?: string): TargetRun {
    return new TargetRun(['--join', name], command, this.env, input);
  }

  socketOf(name: string): string {
    return path.join(this.folder, 'vitrine', name, 'socket');
  }

  /** What `machine ps` asks, without a command for it. */
  async status(name = 'demo'): Promise<Status> {
    const socket = connect(this.socketOf(name), () => socket.write('{"ask":"status"}\n'));
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return (JSON.parse(bytes.toString()) as Extract<Answer, { status: Status }>).status;
  }

  /** Files and directories that machines have here. */
  left(): string[] {
    return readdirSync(this.folder, { recursive: true, encoding: 'utf8' }).toSorted();
  }

  async dispose(): Promise<void> {
    if (this.left().length > 0) await this.machine('down', '--all', '--grace', '0');
    rmSync(this.folder, { recursive: true });
  }
}

/** Waits until it holds, at most `patienceMs`. */
export async function until(holds: () => boolean | Promise<boolean>, patienceMs = 5000): Promise<boolean> {
  const giveUpAt = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) return false;
    await sleep(10);
  }
  return true;
}
