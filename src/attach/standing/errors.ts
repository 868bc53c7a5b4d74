/** What can be wrong with a standing machine, as sentences for the user. */

/** A machine of that name is up, or none is, or it does not answer. */
export class NameError extends Error {
  override name = 'NameError';
}

/** The machine ended as soon as it had begun. */
export class StartError extends Error {
  override name = 'StartError';
}
