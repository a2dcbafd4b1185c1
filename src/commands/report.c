/* report.c - `shoal report`: the page itself is made by Python (analysis/), which is
 * found and started here. Python runs as a child, not in place of us, because there may be several:
 * the first python3 on PATH is often a virtual environment without the modules that the system's
 * has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/files.h"
#include "commands/args.h"
#include "commands/commands.h"

/* What shoal_report.py and a child that finds no Python return; Python scripts return neither of
 * themselves. */
enum { EXIT_NO_MODULES = 79, EXIT_NO_PYTHON = 127 };

/* ---- where the Python code is ---------------------------------------------------------------- */

static bool holds_script(const char *dir)
{
    char path[SHOAL_MAX_PATH];
    return path_format(path, "%s/shoal_report.py", dir) == SHOAL_OK && path_exists(path);
}

/* Beside this program: installed under PREFIX/share, or in the source tree around build/. */
static bool find_beside_program(char *out)
{
    static const char *const places[] = {"../share/shoal/analysis", "../analysis"};
    char self[SHOAL_MAX_PATH], dir[SHOAL_MAX_PATH];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return false;
    self[n] = '\0';
    if (path_parent(dir, self) != SHOAL_OK) return false;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (path_format(out, "%s/%s", dir, places[i]) == SHOAL_OK && holds_script(out)) return true;
    }
    return false;
}

static enum shoal_status find_folder(char *out)
{
    const char *given = getenv("SHOAL_ANALYSIS");
    if (given && *given) {
        SHOAL_CHECK(holds_script(given), SHOAL_EIO,
                    "SHOAL_ANALYSIS is %s, which has no shoal_report.py; name the folder "
                    "analysis of shoal's sources, or unset it",
                    given);
        return path_format(out, "%s", given);
    }
    if (find_beside_program(out)) return SHOAL_OK;
    SHOAL_CHECK(holds_script(SHOAL_ANALYSIS_DIR), SHOAL_EIO,
                "the Python part of shoal is neither beside this program nor in %s; set "
                "SHOAL_ANALYSIS to the folder analysis of shoal's sources",
                SHOAL_ANALYSIS_DIR);
    return path_format(out, "%s", SHOAL_ANALYSIS_DIR);
}

/* ---- Python ---------------------------------------------------------------------------------- */

/* *code: what it returned; 128 + its signal where one ended it. */
static enum shoal_status run_python(const char *python, char *const *argv, int *code)
{
    int status = 0;
    const pid_t child = fork();
    SHOAL_CHECK(child >= 0, SHOAL_EIO, "cannot start %s: %s", python, strerror(errno));
    if (child == 0) {
        (void)execvp(python, argv);
        _exit(EXIT_NO_PYTHON);
    }
    while (waitpid(child, &status, 0) < 0)
        SHOAL_CHECK(errno == EINTR, SHOAL_EIO, "lost sight of %s: %s", python, strerror(errno));
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return SHOAL_OK;
}

/* Python has said what is wrong, unless a signal ended it. */
static enum shoal_status status_of(const char *python, int code)
{
    if (code == 0) return SHOAL_OK;
    if (code == 2) return SHOAL_EARG;
    if (code > 128)
        return SHOAL_FAIL(SHOAL_EIO, "%s was ended by signal %d while it made the report", python,
                          code - 128);
    return SHOAL_EIO;
}

static enum shoal_status try_pythons(char **argv)
{
    const char *given = getenv("SHOAL_PYTHON");
    const char *const known[] = {"python3", "/usr/bin/python3"};
    const int n = given && *given ? 1 : (int)(sizeof known / sizeof *known);
    bool found = false;
    for (int i = 0; i < n; i++) {
        const char *python = given && *given ? given : known[i];
        int code = 0;
        argv[0] = (char *)python;
        SHOAL_TRY(run_python(python, argv, &code));
        if (code != EXIT_NO_MODULES && code != EXIT_NO_PYTHON) return status_of(python, code);
        found = found || code == EXIT_NO_MODULES;
    }
    return SHOAL_FAIL(SHOAL_EIO,
                      "%s%s %s; install Debian's python3, python3-h5py and python3-numpy, or set "
                      "SHOAL_PYTHON to a Python 3.9 or newer that has h5py and numpy",
                      given && *given ? given : "python3", given && *given ? " (SHOAL_PYTHON)" : "",
                      found ? "lacks h5py or numpy" : "is not installed");
}

/* ---- the command ----------------------------------------------------------------------------- */

struct report_command {
    const char *out, *tensorboard;
    bool json;
};

static enum shoal_status report(const struct report_command *c, const struct arg_list *runs)
{
    char folder[SHOAL_MAX_PATH], script[SHOAL_MAX_PATH];
    char *argv[12] = {NULL, script};
    int n = 2;
    for (int i = 0; i < runs->count; i++)
        argv[n++] = (char *)runs->item[i];
    if (c->out) {
        argv[n++] = "--out";
        argv[n++] = (char *)c->out;
    }
    if (c->tensorboard) {
        argv[n++] = "--tensorboard";
        argv[n++] = (char *)c->tensorboard;
    }
    if (c->json) argv[n++] = "--json";
    SHOAL_TRY(find_folder(folder));
    SHOAL_TRY(path_format(script, "%s/shoal_report.py", folder));
    return try_pythons(argv);
}

enum shoal_status command_report(int argc, char **argv)
{
    struct report_command c = {0};
    bool help = false;
    const struct arg_option options[] = {
        {"--out", ARG_STRING, &c.out, "FILE", "the page to write (default report.html)"},
        {"--tensorboard", ARG_STRING, &c.tensorboard, "DIR",
         "write event files for TensorBoard to DIR; the page then only with --out"},
        {"--json", ARG_FLAG, &c.json, NULL, "print one line of JSON"},
    };
    const struct arg_spec spec = {
        .usage = "shoal report RUN [RUN] [--out FILE] [--tensorboard DIR]",
        .description =
            "Make one HTML page of what a run did: losses, fitness, who led and who followed\n"
            "whom, how the experts differ, time, traffic, memory, failures. The page loads\n"
            "nothing, so it can be mailed or archived; the numbers behind each plot can be\n"
            "saved from it. Works while the run is training, and for runs that were killed.\n"
            "With two runs the page compares them first. FILE is replaced when it exists.\n\n"
            "Needs Python 3.9 with h5py and numpy (Debian: python3-h5py, python3-numpy).\n"
            "SHOAL_PYTHON names another Python, SHOAL_ANALYSIS another folder of the code;\n"
            "`from shoal_analysis import Run` there opens runs in a notebook.",
        .options = options,
        .n_options = (int)(sizeof options / sizeof options[0]),
        .min_operands = 1,
        .max_operands = 2,
        .examples = "  shoal report runs/quickstart-1 --out report.html\n"
                    "  shoal report runs/a runs/b --out comparison.html\n"
                    "  shoal report runs/a --tensorboard logs\n",
    };
    struct arg_list operands = {0};
    SHOAL_TRY(args_parse(&spec, argc, argv, &operands, &help));
    enum shoal_status st = SHOAL_OK;
    if (help)
        args_help(&spec, stdout);
    else
        st = report(&c, &operands);
    args_free(&operands);
    return st;
}
