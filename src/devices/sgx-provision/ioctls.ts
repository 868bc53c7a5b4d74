/** /dev/sgx_provision has no commands: every one is ENOTTY. */
import { provisionIoctls } from '../../abi/sgx-uapi.ts';
import type { IoctlHandler } from '../dispatch.ts';

export const table = provisionIoctls;
export const handlers: Readonly<Record<string, IoctlHandler<{ busy: boolean; readonly node: string }>>> = {};
