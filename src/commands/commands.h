/* commands.h - the subcommands. Each parses its own arguments (argv[0] is its name), prints its
 * result on stdout and returns a status; main() prints the error and turns it into the exit code.
 */
#pragma once
#include "base/status.h"

enum shoal_status command_train(int argc, char **argv);
enum shoal_status command_plan(int argc, char **argv);
enum shoal_status command_tokenize(int argc, char **argv);
enum shoal_status command_eval(int argc, char **argv);
enum shoal_status command_generate(int argc, char **argv);
enum shoal_status command_inspect(int argc, char **argv);
enum shoal_status command_report(int argc, char **argv);
enum shoal_status command_export(int argc, char **argv);
enum shoal_status command_import(int argc, char **argv);
