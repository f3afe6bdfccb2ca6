/* The one function of Windows 10's bcryptprimitives.dll that Rust's standard library calls, by the one that older ones have. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID to, ULONG len);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T len) {
    return SystemFunction036(to, (ULONG)len);
}
