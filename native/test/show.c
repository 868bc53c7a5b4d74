/* Shows what exec handed over: name, arguments, environment, signal mask, descriptors. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	const char *name = (char *)getauxval(AT_EXECFN);
	char line[256], comm[16];
	FILE *status = fopen("/proc/self/status", "re");

	prctl(PR_GET_NAME, comm);
	/* The command name of a program that has none but a descriptor changed with Linux 6.14. */
	printf("name %s (%s)\n%d arguments:", name, strncmp(name, "/dev/fd/", 8) ? comm : "", argc);
	for (int i = 0; i < argc && i < 20; i++)
		printf(" [%s]", argv[i]);
	printf("\nenvironment:");
	for (int i = 0; environ[i]; i++)
		printf(" [%s]", environ[i]);
	printf("\ndescriptors:");
	for (int fd = 0; fd < 1000; fd++)
		if (fd != fileno(status) && fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	printf("\n");
	while (fgets(line, sizeof(line), status))
		if (!strncmp(line, "SigBlk", 6) || !strncmp(line, "SigIgn", 6))
			fputs(line, stdout);
	return 0;
}
