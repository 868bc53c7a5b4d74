/** An access to the memory of a virtual process, and what came of it. */
export type Access = 'read' | 'write' | 'exec';
/** What a program sees of an access: done, or the exception. */
export type Touched =
  | { readonly kind: 'ok' }
  /** Enclave memory from outside: reads give ones, writes are lost. */
  | { readonly kind: 'abort-page' }
  | { readonly kind: 'fault'; readonly vector: number; readonly errorCode: number; readonly address: number }
  /** SIGBUS: the driver could not bring the page. */
  | { readonly kind: 'bus' }
  /** Nothing is mapped there. */
  | { readonly kind: 'unmapped' };
