/*
 * cli_complete.c: completion scripts for shells, from the same rows as the parser.
 *
 * Each shell gets one self-contained script that knows every command, its options, the words of an
 * option that takes one of several, and where a file belongs: what a value or an argument is, is
 * read from its placeholder (struct cli_opt.arg, struct cli_cmd.args).
 */
#include "cli_impl.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

enum kind { KIND_NONE, KIND_MODEL, KIND_FILE, KIND_WORDS, KIND_COMMAND };

#define WORDS_BYTES_MAX 256

/* What stands for a placeholder; words: those to choose from, separated by spaces. */
static enum kind kind_of(const char *arg, const char *list, char words[WORDS_BYTES_MAX])
{
    words[0] = '\0';
    if (list) {
        snprintf(words, WORDS_BYTES_MAX, "%s", list);
        assert(strlen(list) < WORDS_BYTES_MAX);
        for (char *p = words; *p; p++)
            if (*p == '|') *p = ' ';
        return KIND_WORDS;
    }
    if (!arg) return KIND_NONE;
    if (strcmp(arg, "MODEL") == 0) return KIND_MODEL;
    if (strcmp(arg, "COMMAND") == 0) return KIND_COMMAND;
    const bool is_file = cli_has_word("FILE IN OUT IDS DIR", ' ', arg, strlen(arg));
    return is_file ? KIND_FILE : KIND_NONE;
}

static enum kind value_kind(const struct cli_opt *o, char words[WORDS_BYTES_MAX])
{
    return kind_of(o->arg, o->words, words);
}

/* The i-th positional argument of "[MODEL [PROMPT]]", without brackets; "" after the last. */
static void arg_name(const struct cli_cmd *cmd, size_t i, char name[WORDS_BYTES_MAX])
{
    const char *s = cmd->args + strspn(cmd->args, " []");
    for (; i > 0; i--) {
        s += strcspn(s, " []");
        s += strspn(s, " []");
    }
    snprintf(name, WORDS_BYTES_MAX, "%.*s", (int)strcspn(s, " []"), s);
}

/* "MODEL" is a model, "bash|zsh" are words. */
static enum kind arg_kind(const char *name, char words[WORDS_BYTES_MAX])
{
    const bool is_list = islower((unsigned char)name[0]) && strchr(name, '|');
    return kind_of(name, is_list ? name : NULL, words);
}

/* That of the first positional argument. */
static enum kind first_kind(const struct cli_cmd *cmd, char words[WORDS_BYTES_MAX])
{
    char name[WORDS_BYTES_MAX];
    arg_name(cmd, 0, name);
    return arg_kind(name, words);
}

/* The i-th row, the help's after the last. */
static const struct cli_opt *row_or_help(const struct cli_cmd *cmd, size_t i)
{
    const struct cli_opt *const o = cli_row(cmd, i);
    if (o) return o;
    return i == 0 || cli_row(cmd, i - 1) ? &cli_help_row : NULL;
}

/* The spellings of a row between separators. */
static void put_spellings(const struct cli_opt *o, const char *separator, FILE *out)
{
    char s[SPELLING_BYTES_MAX];
    for (size_t i = 0; cli_spelling(o, i, s); i++) fprintf(out, "%s%s", i ? separator : "", s);
}

static void put_names(const struct cli_cmd *const *cmds, FILE *out)
{
    for (size_t i = 0; cmds[i]; i++) fprintf(out, "%s%s", i ? " " : "", cmds[i]->name);
}

/* Text inside of single quotes; characters of `special` get a backslash. A quote ends the quoted
 * text, follows with a backslash and begins it again, which every shell reads. */
static void put_quoted(const char *text, const char *special, FILE *out)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            if (strchr(special, *text)) fputc('\\', out);
            fputc(*text, out);
        }
    }
}

/* ---- bash ------------------------------------------------------------------------------------ */

/* kind='...': the word MODEL, the word FILE, or the words to choose from. */
static void bash_kind(const struct cli_cmd *const *cmds, enum kind kind, const char *words,
                      FILE *out)
{
    fputs("kind='", out);
    if (kind == KIND_MODEL) fputs("MODEL", out);
    if (kind == KIND_FILE) fputs("FILE", out);
    if (kind == KIND_WORDS) fputs(words, out);
    if (kind == KIND_COMMAND) put_names(cmds, out);
    fputs("'", out);
}

static void bash_command(const struct cli_cmd *const *cmds, const struct cli_cmd *cmd, FILE *out)
{
    char words[WORDS_BYTES_MAX];
    const struct cli_opt *o;
    fprintf(out, "        %s)\n            ", cmd->name);
    bash_kind(cmds, first_kind(cmd, words), words, out);
    fputs("\n            options='", out);
    for (size_t i = 0; (o = row_or_help(cmd, i)) != NULL; i++) {
        if (i) fputc(' ', out);
        put_spellings(o, " ", out);
    }
    fputs("'\n            case $prev in\n", out);
    for (size_t i = 0; (o = cli_row(cmd, i)) != NULL; i++) {
        if (o->type == CLI_FLAG) continue;
        const enum kind kind = value_kind(o, words);
        fputs("            ", out);
        put_spellings(o, " | ", out);
        fputs(") value=1 ", out);
        bash_kind(cmds, kind, words, out);
        fputs(" ;;\n", out);
    }
    fputs("            esac\n            ;;\n", out);
}

static void write_bash(const struct cli_cmd *const *cmds, FILE *out)
{
    fputs("# Completion of moxie for bash; made by `moxie completion bash`.\n"
          "_moxie()\n"
          "{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local kind='' options='' value=''\n"
          "    COMPREPLY=()\n"
          "    if [[ $cur == = ]]; then # --option=value comes as three words\n"
          "        cur=''\n"
          "    elif [[ $prev == = ]]; then\n"
          "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        options='--help --version'\n"
          "        kind='",
          out);
    put_names(cmds, out);
    fputs("'\n"
          "    else\n"
          "        case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; cmds[i]; i++) bash_command(cmds, cmds[i], out);
    fputs("        esac\n"
          "    fi\n"
          "    [[ ! $value && $cur == -* ]] && kind=$options\n"
          "    case $kind in\n"
          "    FILE) return ;; # what bash does by itself\n"
          "    MODEL) # without one, any file\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        cur=${cur//\\\\/}\n"
          "        mapfile -t COMPREPLY < <(compgen -f -X '!*.gguf' -- \"$cur\"; compgen -d -- "
          "\"$cur\")\n"
          "        ;;\n"
          "    *)\n"
          "        compopt +o default 2>/dev/null\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$kind\" -- \"$cur\")\n"
          "        ;;\n"
          "    esac\n"
          "}\n"
          "complete -o default -F _moxie moxie\n",
          out);
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* :PLACEHOLDER:ACTION */
static void zsh_action(const struct cli_cmd *const *cmds, const char *arg, enum kind kind,
                       const char *words, FILE *out)
{
    fprintf(out, ":%s:", arg);
    if (kind == KIND_NONE) fputc(' ', out);
    if (kind == KIND_MODEL) fputs("_files -g \"*.gguf(-.)\"", out);
    if (kind == KIND_FILE) fputs("_files", out);
    if (kind == KIND_WORDS) fprintf(out, "(%s)", words);
    if (kind != KIND_COMMAND) return;
    fputc('(', out);
    put_names(cmds, out);
    fputc(')', out);
}

/* '(-n --n-predict)'{-n,--n-predict=}'[tokens to write]:N: ' */
static void zsh_row(const struct cli_cmd *const *cmds, const struct cli_opt *o, FILE *out)
{
    char s[SPELLING_BYTES_MAX], words[WORDS_BYTES_MAX];
    const enum kind kind = value_kind(o, words);
    const bool several = cli_spelling(o, 1, s) != NULL;
    fputs(" \\\n            ", out);
    if (several) {
        fputs("'(", out);
        put_spellings(o, " ", out);
        fputs(")'{", out);
    } else {
        fputc('\'', out);
    }
    for (size_t i = 0; cli_spelling(o, i, s); i++)
        fprintf(out, "%s%s%s", i ? "," : "", s, s[1] == '-' && o->arg ? "=" : "");
    fputs(several ? "}'[" : "[", out);
    put_quoted(o->help, "[]\\", out);
    fputc(']', out);
    if (o->arg) zsh_action(cmds, o->arg, kind, words, out);
    fputc('\'', out);
}

static void zsh_command(const struct cli_cmd *const *cmds, const struct cli_cmd *cmd, FILE *out)
{
    char name[WORDS_BYTES_MAX], words[WORDS_BYTES_MAX];
    const struct cli_opt *o;
    fprintf(out, "    %s)\n        _arguments", cmd->name);
    for (size_t i = 0; (o = row_or_help(cmd, i)) != NULL; i++) zsh_row(cmds, o, out);
    for (size_t i = 0; i < cmd->pos_max; i++) {
        arg_name(cmd, i, name);
        fprintf(out, " \\\n            '%zu", i + 1);
        zsh_action(cmds, name, arg_kind(name, words), words, out);
        fputc('\'', out);
    }
    fputs("\n        ;;\n", out);
}

static void write_zsh(const struct cli_cmd *const *cmds, FILE *out)
{
    fputs("#compdef moxie\n"
          "# Completion of moxie for zsh; made by `moxie completion zsh`.\n"
          "_moxie()\n"
          "{\n"
          "    local -a commands=(\n",
          out);
    for (size_t i = 0; cmds[i]; i++) {
        fprintf(out, "        '%s:", cmds[i]->name);
        put_quoted(cmds[i]->brief, "\\", out);
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    if ((CURRENT == 2)); then\n"
          "        _arguments '--help[all commands]' '--version[the version]' '*: :->command'\n"
          "        [[ $state == command ]] && _describe -t commands 'command' commands\n"
          "        return\n"
          "    fi\n"
          "    shift words\n"
          "    ((CURRENT--))\n"
          "    case $words[1] in\n",
          out);
    for (size_t i = 0; cmds[i]; i++) zsh_command(cmds, cmds[i], out);
    fputs("    esac\n"
          "}\n"
          "if [[ $funcstack[1] == _moxie ]]; then\n"
          "    _moxie \"$@\"\n"
          "else\n"
          "    compdef _moxie moxie\n"
          "fi\n",
          out);
}

/* ---- fish ------------------------------------------------------------------------------------ */

static void fish_values(const struct cli_cmd *const *cmds, enum kind kind, const char *words,
                        FILE *out)
{
    if (kind == KIND_MODEL) fputs(" -k -a '(__fish_complete_suffix .gguf)'", out);
    if (kind == KIND_WORDS) fprintf(out, " -a '%s'", words);
    if (kind != KIND_COMMAND) return;
    fputs(" -a '", out);
    put_names(cmds, out);
    fputs("'", out);
}

static void fish_row(const struct cli_cmd *const *cmds, const struct cli_cmd *cmd,
                     const struct cli_opt *o, FILE *out)
{
    char s[SPELLING_BYTES_MAX], words[WORDS_BYTES_MAX];
    const enum kind kind = value_kind(o, words);
    fprintf(out, "complete -c moxie -n '__moxie_command_is %s'", cmd->name);
    for (size_t i = 0; cli_spelling(o, i, s); i++) {
        if (s[1] == '-')
            fprintf(out, " -l %s", s + 2);
        else
            fprintf(out, s[2] ? " -o %s" : " -s %s", s + 1);
    }
    if (o->arg) fputs(kind == KIND_FILE ? " -r -F" : " -x", out);
    fish_values(cmds, kind, words, out);
    fputs(" -d '", out);
    put_quoted(o->help, "\\", out);
    fputs("'\n", out);
}

static void write_fish(const struct cli_cmd *const *cmds, FILE *out)
{
    fputs("# Completion of moxie for fish; made by `moxie completion fish`.\n"
          "function __moxie_command_is # the first word, and not one such as run in: help run\n"
          "    set -l words (commandline -opc)\n"
          "    test \"$words[2]\" = $argv[1]\n"
          "end\n"
          "complete -c moxie -f\n"
          "complete -c moxie -n __fish_use_subcommand -l help -d 'all commands'\n"
          "complete -c moxie -n __fish_use_subcommand -l version -d 'the version'\n",
          out);
    for (size_t i = 0; cmds[i]; i++) {
        char words[WORDS_BYTES_MAX];
        const struct cli_opt *o;
        fprintf(out, "complete -c moxie -n __fish_use_subcommand -a %s -d '", cmds[i]->name);
        put_quoted(cmds[i]->brief, "\\", out);
        fputs("'\n", out);
        const enum kind kind = first_kind(cmds[i], words);
        if (kind != KIND_NONE) {
            fprintf(out, "complete -c moxie -n '__moxie_command_is %s'%s", cmds[i]->name,
                    kind == KIND_FILE ? " -F" : "");
            fish_values(cmds, kind, words, out);
            fputc('\n', out);
        }
        for (size_t k = 0; (o = row_or_help(cmds[i], k)) != NULL; k++)
            fish_row(cmds, cmds[i], o, out);
    }
}

bool cli_completion(const struct cli_cmd *const *cmds, const char *shell, FILE *out)
{
    static const struct {
        const char *shell;
        void (*write)(const struct cli_cmd *const *cmds, FILE *out);
    } scripts[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    assert(cmds);
    assert(shell);
    assert(out);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strcmp(scripts[i].shell, shell) != 0) continue;
        scripts[i].write(cmds, out);
        return true;
    }
    return false;
}
