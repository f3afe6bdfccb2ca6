/* Runs a program under Windows while a file is open.
 *
 *     hold.exe shared|alone FILE PROGRAM ARGUMENTS...
 *
 * "shared" lets others read, write and remove it; "alone" lets them do nothing. Ends as the program does. */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>

static int fail(const char *what) {
    fprintf(stderr, "hold: %s: error %lu\n", what, GetLastError());
    return 99;
}

int wmain(int count, wchar_t **words) {
    STARTUPINFOW start = {.cb = sizeof start};
    PROCESS_INFORMATION program;
    wchar_t line[8192] = L"";
    DWORD code, share = wcscmp(words[1], L"alone") ? FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE : 0;
    HANDLE file = CreateFileW(words[2], GENERIC_READ, share, NULL, OPEN_EXISTING, 0, NULL);

    if (file == INVALID_HANDLE_VALUE) {
        return fail("the file cannot be opened");
    }
    for (int i = 3; i < count; i++) {
        wcscat(wcscat(wcscat(line, i == 3 ? L"\"" : L" \""), words[i]), L"\"");
    }
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &program)) {
        return fail("the program cannot be run");
    }
    if (WaitForSingleObject(program.hProcess, 60000) != WAIT_OBJECT_0 || !GetExitCodeProcess(program.hProcess, &code)) {
        return fail("it goes on");
    }
    CloseHandle(file);
    return (int)code;
}
