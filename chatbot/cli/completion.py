"""`chatbot completion bash|zsh|fish`: a script for the shell, which at each Tab asks this program what may stand there.

So that a new option is completed as soon as it exists, with nothing to be installed again. What is offered is worked out by
`complete`; the scripts only pass it on. Between the two: the first line is the kind (`words`, `files` or `directories`)
and what stands before the candidates in the same word; every line after it a candidate, a tab, and what it is for.
"""

import argparse
import re
import sys

from chatbot.cli.common import Parser

_EXAMPLES = """\
to try it:
  bash    source <(chatbot completion bash)
  zsh     source <(chatbot completion zsh)
  fish    chatbot completion fish | source

to install it:
  bash    chatbot completion bash > ~/.local/share/bash-completion/completions/chatbot
          or, without the package bash-completion: chatbot completion bash >> ~/.bashrc
  zsh     chatbot completion zsh > DIR/_chatbot, where DIR is in $fpath before compinit
  fish    chatbot completion fish > ~/.config/fish/completions/chatbot.fish

Programs, actions, options, their choices, files and aliases are completed.
"""

_BASH = r"""# Completion of chatbot for bash. To install it:
#   chatbot completion bash > ~/.local/share/bash-completion/completions/chatbot
# or, without the package bash-completion:
#   chatbot completion bash >> ~/.bashrc
_chatbot() {
    local line kind tab=$'\t' current="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[0]}"
    COMPREPLY=()
    case $current in '=' | ':') current= ;; esac
    {
        IFS=' ' read -r kind line
        while IFS= read -r line; do
            line="${line%%$tab*}"
            case $line in "$current"*) COMPREPLY+=("$line") ;; esac
        done
    } < <("${command/#\~/$HOME}" completion candidates --bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # compopt is of bash 4; in bash 3.2, as macOS has it, files are offered where there is nothing else.
    case $kind in
        words) compopt +o default 2>/dev/null ;;
        directories) compopt +o default -o dirnames 2>/dev/null ;;
    esac
    return 0
}
complete -o default -F _chatbot chatbot
"""

_ZSH = r"""#compdef chatbot
# Completion of chatbot for zsh. To install it, with DIR in $fpath before compinit:
#   chatbot completion zsh > DIR/_chatbot
_chatbot() {
    local line kind prefix tab=$'\t'
    local -a lines found shown
    lines=("${(@f)$("${~words[1]}" completion candidates "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    kind=${lines[1]%% *} prefix=${lines[1]#* }
    [[ -n $prefix ]] && compset -P 1 '*='
    case $kind in
        files) _files ;;
        directories) _files -/ ;;
        *)
            for line in "${(@)lines[2,-1]}"; do
                found+=("${line%%$tab*}")
                shown+=("${line%%$tab*}${${line#*$tab}:+  -- ${line#*$tab}}")
            done
            (( $#found )) && compadd -l -d shown -a found
            ;;
    esac
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _chatbot "$@"
else
    compdef _chatbot chatbot
fi
"""

_FISH = r"""# Completion of chatbot for fish. To install it:
#   chatbot completion fish > ~/.config/fish/completions/chatbot.fish
function __chatbot_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct | string unescape)
    test (count $current) = 1; or set current (commandline -ct)
    set -l lines ($before[1] completion candidates $before[2..] "$current" 2>/dev/null)
    set -l first (string split -m 1 ' ' -- $lines[1])
    set -l prefix $first[2]
    set -l begun (string sub -s (math (string length -- "$prefix") + 1) -- "$current")
    switch $first[1]
        case files
            string replace -r '^' -- "$prefix" (__fish_complete_path "$begun")
        case directories
            string replace -r '^' -- "$prefix" (__fish_complete_directories "$begun")
        case '*'
            string replace -r '^' -- "$prefix" $lines[2..]
    end
end
complete -c chatbot -f -a '(__chatbot_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion_parser() -> Parser:
    """Return the parser of `completion`."""
    parser = Parser(
        prog="chatbot completion",
        description="Print a script that completes the words of this program by Tab, for a shell.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=tuple(_SCRIPTS), help="the shell")
    return parser


def run_completion(argv: list[str]) -> int:
    """Print a script; or, for the scripts, what may stand in the place of the last word."""
    if argv[:1] == ["candidates"]:
        _candidates(argv[1:])
        return 0
    sys.stdout.write(_SCRIPTS[completion_parser().parse_args(argv).shell])
    return 0


def _candidates(words: list[str]) -> None:
    from chatbot.cli.complete import offer

    in_bash = words[:1] == ["--bash"]
    offered = offer(joined(words[1:]) if in_bash else words)
    lines = [f"{offered.kind} {'' if in_bash else offered.prefix}"]
    lines += [f"{word}\t{' '.join(about.split())}" for word, about in offered.candidates]
    sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def joined(words: list[str]) -> list[str]:
    """Return the words as they were typed: to bash `=` and `:` are words of their own, and what is completed
    is what stands behind them."""
    found: list[str] = []
    is_open = False
    for word in words:
        is_joint = re.fullmatch(r"[=:]+", word) is not None
        if found and (is_joint or is_open):
            found[-1] += word
        else:
            found.append(word)
        is_open = is_joint
    return found
