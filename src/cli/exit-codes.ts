/** Exit codes of `vitrine run` that are not the program's own; the same as those of shells and of docker run. */
export const VITRINE_FAILED = 125;

export const runExitCodes = `
Exit codes:
  those of PROGRAM; 128 + N when signal N ended it
  125  Vitrine itself failed, or the command line, the machine file or the identity is wrong,
       or the machine to join is not up
  126  PROGRAM is not executable
  127  PROGRAM is not there`;

/** Exit codes of the commands that run nothing; commander itself uses 1 for a wrong command line. */
export const ExitCode = { FILE: 2, ENCLAVE: 3, KEY: 4, MACHINE: 5, NAME: 6, START: 7 } as const;
