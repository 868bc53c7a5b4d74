/* `launch` for tests that call the loader's functions from an ordinary program. */
#include "../src/stub.h"

struct launch launch = { .gate = "no-host", .executable = "" };

void __attribute__((visibility("default"))) pretend_executable(const char *path)
{
	launch.executable = path;
}
