# Sourced by jobs, pipeline.sh and sweep.sh, in the repository's folder: what can be known before a stage starts. Each check prints
# what is wrong and what to do, and returns 2. Programs are asked for the settings; nothing is written.

# resolved_config STAGE ARGS...: the stage's config as the program reads it; fails as the stage would, with its message.
resolved_config() {
  local stage=$1
  shift
  ${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/$stage" "$@" --print-config
}

# job_words [DEFAULT ARGS...] -- ARGS...: sets the array `words` to what `launch` gives to the program.
job_words() {
  local defaults=()
  while [ "$1" != -- ]; do defaults+=("$1"); shift; done
  shift
  case " $* " in *" --config"* | *" train="* | *" dataset="*) defaults=() ;; esac
  words=("${defaults[@]}" ${MICRODIT_ARGS:-} "$@")
}

# bare: the values on stdin without JSON's quotes, and without the comment that says where each comes from.
bare() { sed -E 's/^"(([^"\\]|\\.)*)".*$/\1/; t quoted; s/ .*//; b; : quoted; s/\\(["\\])/\1/g'; }

# setting KEY[.KEY]: a text or number of the resolved config on stdin; nothing when it is not there.
setting() {
  awk -v want="$1" '
    match($0, /^ *[A-Za-z_][A-Za-z0-9_]*:/) {
      depth = match($0, /[^ ]/) - 1
      key = $0; sub(/^ */, "", key); value = key
      sub(/:.*/, "", key); sub(/^[^:]*:[ ]*/, "", value)
      path[depth] = key
      name = ""
      for (d = 0; d <= depth; d += 2) name = name (d ? "." : "") path[d]
      if (name == want) { print value; exit }
    }' | bare
}

# check_route [DEFAULT ARGS...] -- ARGS... (of download): one of the download's hosts, or the proxy, takes a connection from here. At most 25 s.
check_route() {
  local words resolved list hosts host name port proxy=${https_proxy:-${HTTPS_PROXY:-${all_proxy:-${ALL_PROXY:-${http_proxy:-}}}}}
  job_words "$@"
  resolved=$(resolved_config download "${words[@]}") || return
  hosts=$(sed -n '/^ *urls:/p' <<<"$resolved" | grep -oE 'https?://[^/", ]+')
  if [ -n "$(setting source.hub <<<"$resolved")" ]; then
    hosts=${MICRODIT_HUB:-${HF_ENDPOINT:-https://huggingface.co}}
    case ${HF_HUB_OFFLINE:-} in 1 | true | TRUE | True | yes | YES | on | ON) hosts= ;; esac  # all of it is in the hub's cache here
  fi
  list=$(setting source.list_file <<<"$resolved")
  [ -z "$list" ] || [ ! -f "$list" ] || hosts=$(grep -m 3 -oE 'https?://[^/[:space:]]+' "$list")
  hosts=$(grep -v '^file:' <<<"$hosts" | sort -u | head -n 2)
  [ -n "$hosts" ] || return 0
  for host in ${proxy:-$hosts}; do
    name=${host#*://} name=${name%%/*} name=${name##*@}
    port=80
    case $host in https:*) port=443 ;; esac
    case $name in
      *]:*) port=${name##*:} name=${name%:*} ;;
      \[*) ;;
      *:*) port=${name##*:} name=${name%:*} ;;
    esac
    name=${name#[} name=${name%]}
    timeout 12 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$name" "$port" 2>/dev/null && return 0
  done
  cat >&2 <<TEXT
download: no connection from this node ($(uname -n)) to $(paste -sd' ' <<<"${proxy:-$hosts}"). Download where there is one:
  ${MICRODIT_BIN:-build/bin}/download ${words[*]@Q}          on the login node; it continues what is there
or say in slurm/sites/NAME.sh where the site's internet is: MICRODIT_INTERNET=login (pipeline.sh then downloads first, in its
own shell) or MICRODIT_INTERNET=transfer with MICRODIT_SBATCH_TRANSFER=(--partition=...).
TEXT
  return 2
}

# download_line ENTRY: the command that fetches it here.
download_line() {
  local words
  job_words -- --config "$1"
  words=(${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/download" "${words[@]}")
  echo "${words[*]@Q}" | sed "s/'\([A-Za-z0-9_.,:=/%+@-]*\)'/\1/g"
}

# has_model FOLDER KEY: what a network's folder must hold at least; says what it lacks.
has_model() {
  if [ ! -d "$1" ]; then
    echo "$1: no such folder"
  elif [ ! -f "$1/config.json" ] && { [ "$2" != text.encoder ] || [ ! -f "$1/open_clip_config.json" ]; }; then
    echo "$1 has no config.json: the folder of one model is wanted, as its publisher ships it"
  elif [ "$2" = text.encoder ] && grep -qE '"model_type": *"tokenizer"' "$1/config.json" 2>/dev/null; then
    return 0  # a tokenizer alone
  elif ! compgen -G "$1/*.safetensors" >/dev/null && ! compgen -G "$1/*.bin" >/dev/null && ! compgen -G "$1/*.pt" >/dev/null &&
    ! compgen -G "$1/*.pth" >/dev/null && ! compgen -G "$1/*.ckpt" >/dev/null; then
    echo "$1 has no weights in it (.safetensors, .bin, .pt)"
  else
    return 0
  fi
  return 1
}

# check_encoders [DEFAULT ARGS...] -- ARGS... (of precompute): both folders of the recipe hold a network. MADE_CODEC, MADE_TOKENIZER:
# folders where earlier stages will make one; `made_is_read` then holds the words CODEC, TOKENIZER of those that a recipe reads.
# FETCH=1: what is missing and in the catalogue of weights is no mistake. Sets the array `fetches` to those entries' files. The
# program prints the recipe, and the catalogue's entries of its folders, below the dataset's entry, as comments.
check_encoders() {
  local words resolved key folder said entry remedy made what wrong=0
  fetches=()
  job_words "$@"
  resolved=$(resolved_config precompute "${words[@]}") || return
  resolved=$(sed -n 's/^# //p' <<<"$resolved")
  for key in images.codec text.encoder; do
    folder=$(setting $key <<<"$resolved")
    [[ ! $folder =~ ^(none|grey)(_[2-8])?$ ]] || continue  # the pixels themselves; no text rows
    if [ $key = images.codec ]; then made=${MADE_CODEC:-} what=CODEC; else made=${MADE_TOKENIZER:-} what=TOKENIZER; fi
    if [ -n "$made" ] && [ "$(realpath -m -- "$folder")" = "$(realpath -m -- "$made")" ]; then made_is_read+=" $what"; continue; fi
    said=$(has_model "$folder" $key) && continue
    entry=$(setting "weights.${key#*.}" <<<"$resolved")
    [ -z "$entry" ] || fetches+=("$entry")
    [ -z "$entry" ] || [ -z "${FETCH:-}" ] || continue
    remedy="the recipe's file says where it comes from"
    [ -z "$entry" ] || remedy="to fetch it: $(download_line "$entry")"
    echo "precompute: $key: $said; $remedy" >&2
    wrong=2
  done
  return $wrong
}

# split TEXT: sets the array `pieces` to its words, with a shell's quotes but nothing that it would expand.
split() {
  local text
  text=$(xargs -r printf '%s\n' <<<"$1" 2>/dev/null) || die "'$1': a quote is not closed"
  pieces=()
  [ -z "$text" ] || mapfile -t pieces <<<"$text"
}

# quoted WORD...: one line that a shell reads as these words
quoted() {
  local word line=""
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_.,:=/%+@-]+$ ]] || word=${word@Q}
    line+=" $word"
  done
  echo "${line# }"
}

# check_programs PROGRAM...: they are built, and so is what the job scripts become.
check_programs() {
  local program bin=${MICRODIT_BIN:-build/bin} build="build first (scripts/setup.sh, then cmake --preset release && ninja -C build jobs)"
  for program in "$@"; do
    ${MICRODIT_PREFIX:-} test -x "$bin/$program" || die "$bin/$program is missing${MICRODIT_PREFIX:+ behind MICRODIT_PREFIX=$MICRODIT_PREFIX}: $build"
  done
  [ -x "${MICRODIT_LIFE:-$bin/life}" ] || die "${MICRODIT_LIFE:-$bin/life} is missing${MICRODIT_PREFIX:+ (outside of the container: MICRODIT_LIFE)}: $build"
}

# max_array_size: how many tasks this Slurm's arrays may have; nothing where no controller answers.
max_array_size() { timeout 20 scontrol show config 2>/dev/null | sed -n 's/^MaxArraySize *= *//p'; }

# would_take WHAT: Slurm would take the job (partition, account, time, GPUs) of `command`, which is sbatch with its options, and
# `payload`. That nodes are down now is no mistake.
would_take() {
  local said
  said=$("${command[@]}" --test-only "${payload[@]}" 2>&1) && return 0
  [[ $said != *"down, drained or reserved"* && $said != *"busy"* ]] || return 0
  echo "$said" >&2
  die "Slurm would refuse $1: $(quoted "${command[@]}" "${payload[@]}")"
}

# can_write FOLDER: what is not there yet could be made.
can_write() {
  local folder=$1 probe
  while [ ! -e "$folder" ] && [ "$folder" != . ] && [ "$folder" != / ]; do folder=$(dirname "$folder"); done
  probe=$(mktemp -d -p "$folder" .writable-XXXXXX 2>/dev/null) && rmdir "$probe"
}
