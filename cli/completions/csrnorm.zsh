#compdef csrnorm
# Completion of csrnorm for zsh. Commands and options are those that the program's own help
# names, so this file does not have to follow them.

_csrnorm() {
  local program=${words[1]}
  if ((CURRENT == 2)); then
    local -a commands
    commands=(${(f)"$($program --help 2>/dev/null | sed -n 's/^  \([a-z]*\) *\(.*\)/\1:\2/p')"} --help --version)
    _describe command commands
    return
  fi
  case ${words[CURRENT-1]} in
    --axis | --cells) compadd rows columns ;;
    --op) compadd multiply divide ;;
    --zero) compadd ieee one ;;
    --device) compadd auto cpu cuda ;;
    --target-sum) compadd median mean ;;
    --compression) compadd keep none gzip ;;
    *)
      if [[ ${words[CURRENT]} == -* ]]; then
        compadd -- ${(fu)"$($program ${words[2]} --help 2>/dev/null | grep -oE -- '--[a-z0-9-]+')"}
      else
        _files
      fi
      ;;
  esac
}

_csrnorm "$@"
