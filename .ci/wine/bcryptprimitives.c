// bcryptprimitives.dll, which Go's runtime takes its random numbers from. Debian's Wine 8 has none.
#include <windows.h>
#include <ntsecapi.h> // RtlGenRandom is SystemFunction036 of advapi32.dll

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, size); }
