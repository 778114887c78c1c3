/*
 * limits.h: every static limit, with its reason. Counts that a file or a user may claim are checked
 * against these before anything is computed from them.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define LAYERS_MAX 512       /* largest known: 126 (Llama-3.1-405B); room for stacks */
#define EXPERTS_MAX 1024     /* largest known: 512 (qwen3next) */
#define EXPERTS_USED_MAX 64  /* largest known: 22 (Nemotron 3 Super) */
#define DIM_MAX (1u << 20)   /* widest row of one token: qkv of the largest models is 2^17 */
#define HEADS_MAX 1024       /* largest known: 128 */
#define HEAD_DIM_MAX 1024    /* largest known: 576 (an MLA latent row); 512 (gemma4) */
#define VOCAB_MAX (1u << 22) /* largest known: 262,144 (gemma 3); 1 M leaves room */
#define CTX_MAX (1u << 26)   /* positions; beyond any model, and KV sizes stay in 64 bits */
#define CTX_DEFAULT 4096     /* without -c: a context that fits memory on small machines */
#define BATCH_MAX 4096       /* tokens of one prefill piece */
#define BATCH_DEFAULT 512    /* llama.cpp's physical batch: activations stay small */
#define SEQS_MAX 256         /* timelines side by side; one machine decodes fewer at a time */
#define CREW_SEATS_MAX (SEQS_MAX - 1) /* answers side by side; a crew keeps one timeline to spare */
#define KV_SPAN 256                   /* positions of one KV span: scores of a span stay in L1 */
#define THREADS_MAX 256               /* more than any machine moxie aims at */
#define TENSOR_NAME_BYTES_MAX 63      /* GGML_MAX_NAME - 1 */
#define TENSOR_DIMS_MAX 4             /* GGUF */
#define GGUF_KEYS_MAX (1u << 16)      /* real files hold fewer than 200; 3 MB of table at most */
#define GGUF_ITEMS_MAX (1u << 24)     /* of an array; largest known: 514,906 merges (gemma 3) */
#define GGUF_TENSORS_MAX (1u << 20) /* largest known: about 20,000 with experts stored one by one */
#define GGUF_KEY_BYTES_MAX 65535    /* GGUF specification */
#define GGUF_SPLITS_MAX 1024        /* files of one model: 397 B in 4 GB parts are about 100 */
#define GGUF_ALIGN_MIN 8            /* GGUF specification: a multiple of 8 */
#define GGUF_ALIGN_DEFAULT 32       /* GGUF specification */
#define GGUF_ALIGN_MAX (1u << 20) /* largest alignment in use is 4096; a power of two up to 1 MiB */
#define TOKEN_BYTES_MAX 65535     /* of one vocabulary entry; real ones stay below 1 KiB */
#define PROMPT_BYTES_MAX (1u << 28)     /* a text to tokenise: CTX_MAX tokens of 4 bytes */
#define BATCH_LINE_BYTES_MAX (1u << 24) /* of batch input: a prompt of 4 M tokens */
#define BATCH_WINDOW 1024 /* answers that wait for a slow one before them; most are a few kB */
#define BATCH_HELD_BYTES_MAX (1u << 24) /* of their text: above it no further item is begun */
#define SHARDS_MAX (1u << 20)    /* Slurm allows 4 M jobs of an array at most, 1001 by default */
#define SAMPLE_BIASES_MAX 4096   /* logit biases of one answer; OpenAI takes 300 */
#define STOPS_MAX 64             /* stop strings of one answer; OpenAI takes 4 */
#define STOP_BYTES_MAX 1024      /* of one stop string: a page of text is no sign to look for */
#define STOP_PUT_BYTES_MAX 65540 /* at once: what a token can give (TOK_STREAM_BYTES_MAX) */
#define JINJA_SOURCE_BYTES_MAX (1u << 20)       /* a template; the longest known have 20 KB */
#define JINJA_VALUE_BYTES_MAX (256u << 20)      /* of one render; its output is one of the values */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION /* libFuzzer: many short renders */
#define JINJA_STEPS_MAX 200000u
#else
#define JINJA_STEPS_MAX 20000000u /* 0.2 to 1.5 s; 10,000 messages take 1 million */
#endif
#define CHAT_SECONDS_MAX 3     /* to open a template, or to render it: 100 times what is usual */
#define JINJA_NEST_MAX 200     /* tags and brackets in each other; CPython allows 200 brackets */
#define JINJA_DEPTH_MAX 1000   /* calls, expressions, values in each other; 1 KB of stack each */
#define JINJA_RANGE_MAX 100000 /* items of range(): as the sandbox of Jinja */
#define CONV_TAPS_MAX 16       /* short convolutions: 3 or 4 taps in all known models */
#define STDIO_LINE_BYTES_MAX (8u << 20)    /* a prompt of a million tokens, with its escapes */
#define STDIO_NAME_BYTES_MAX 256           /* of a request or conversation: several UUIDs */
#define STDIO_QUEUE_MAX 256                /* requests that wait; more are for `batch` */
#define STDIO_CONVERSATIONS_MAX 256        /* a household of users; searched one by one */
#define STDIO_KEPT_BYTES_MAX (64u << 20)   /* requests and conversations, by estimate */
#define STDIO_OUT_PAUSE_BYTES (256u << 10) /* unread events: minutes of text; answers pause */
#define STDIO_OUT_BYTES_MAX (4u << 20)     /* then lines are left unread, too */
#define STDIO_FINISH_MS 500       /* that a signal leaves a reader for the rest of a line */
#define CHAT_HISTORY_ENTRIES 1000 /* as shells keep */
#define CHAT_HISTORY_ENTRY_BYTES_MAX (1u << 17) /* a pasted page of 10 kB is kept, a book is not */
#define CHAT_HISTORY_BYTES_MAX (1u << 22)       /* of the file; a typed entry has 100 bytes */
#define CHAT_PASTE_CHARS_MAX (1u << 18) /* beyond it the editor is slow; /read has no limit */
#define SHOW_MARK_BYTES_MAX 64          /* of a reasoning mark; the longest known has 52 */

#endif
