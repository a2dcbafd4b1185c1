/* imported.h - what the targets of other programs' models have in common. */
#pragma once

/* Open the model at path and read all its numbers. What is accepted has as many as its own
 * configuration asks for. */
void fuzz_import(const char *path);
