# Completion of csrnorm for bash. Commands and options are those that the program's own help
# names, so this file does not have to follow them.

_csrnorm() {
  local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    local commands
    commands=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')
    mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$word")
    return
  fi
  case $previous in
    --axis | --cells) mapfile -t COMPREPLY < <(compgen -W "rows columns" -- "$word") ;;
    --op) mapfile -t COMPREPLY < <(compgen -W "multiply divide" -- "$word") ;;
    --zero) mapfile -t COMPREPLY < <(compgen -W "ieee one" -- "$word") ;;
    --device) mapfile -t COMPREPLY < <(compgen -W "auto cpu cuda" -- "$word") ;;
    --target-sum) mapfile -t COMPREPLY < <(compgen -W "median mean" -- "$word") ;;
    --compression) mapfile -t COMPREPLY < <(compgen -W "keep none gzip" -- "$word") ;;
    *)
      if [[ $word == -* ]]; then
        local options
        options=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z0-9-]+' | sort -u)
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
      else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
      fi
      ;;
  esac
}

complete -F _csrnorm csrnorm
