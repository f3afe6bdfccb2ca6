/* Runs a program under Windows and presses Ctrl-C as soon as it writes.
 *
 *     interrupt.exe PATTERN PROGRAM ARGUMENTS...
 *
 * Waits for a file that fits PATTERN, sends Ctrl-C to its console, and ends as the program does. */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>

static int fail(const char *what) {
    fprintf(stderr, "interrupt: %s: error %lu\n", what, GetLastError());
    return 99;
}

int wmain(int count, wchar_t **words) {
    WIN32_FIND_DATAW found;
    STARTUPINFOW start = {.cb = sizeof start};
    PROCESS_INFORMATION program;
    wchar_t line[8192] = L"";
    DWORD code;
    int turns = 0;

    for (int i = 2; i < count; i++) {
        wcscat(wcscat(wcscat(line, i == 2 ? L"\"" : L" \""), words[i]), L"\"");
    }
    /* A console that nobody else is on; standard input and output stay as they are. */
    FreeConsole();
    if (!AllocConsole()) {
        return fail("there is no console");
    }
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &program)) {
        return fail("the program cannot be run");
    }
    while (FindFirstFileW(words[1], &found) == INVALID_HANDLE_VALUE) {
        if (++turns > 60000 || WaitForSingleObject(program.hProcess, 1) == WAIT_OBJECT_0) {
            return fail("it ended, or never wrote");
        }
    }
    /* Only now: the program would inherit that it ignores Ctrl-C. */
    if (!SetConsoleCtrlHandler(NULL, TRUE) || !GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)) {
        return fail("Ctrl-C cannot be sent");
    }
    if (WaitForSingleObject(program.hProcess, 60000) != WAIT_OBJECT_0 || !GetExitCodeProcess(program.hProcess, &code)) {
        return fail("it goes on");
    }
    return (int)code;
}
