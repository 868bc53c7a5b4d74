/** The processors that a machine can have. */
export { limitToHost, processorProfiles, type ProcessorProfile } from '../processor/profiles.ts';
