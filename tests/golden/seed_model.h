/*
 * seed_model.h: a golden case whose model is kept as a seed.
 *
 *     const json_t *weights = json_object_get(json, "weights");
 *     if (!seed_model_write(weights, "case/model.part", "/tmp/x/model.gguf", why, sizeof why)) ...
 *
 * model.part holds the GGUF head and the small tensors; `weights` says, tensor by tensor in file
 * order, how many bytes to take from it or from which seed to make them. Returns false with a
 * sentence in why.
 */
#ifndef SEED_MODEL_H
#define SEED_MODEL_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

bool seed_model_write(const json_t *weights, const char *part, const char *target, char *why,
                      size_t why_bytes);
/* The same of the case in a folder: "tests/golden/qwen3next". */
bool seed_case_write(const char *folder, const char *target);

#endif
