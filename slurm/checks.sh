# Sourced by jobs and by pipeline.sh, in the repository's folder: what can be known before a stage starts. Each check prints
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
  case " $* " in *" --config"*) defaults=() ;; esac
  words=("${defaults[@]}" ${MICRODIT_ARGS:-} "$@")
}

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
    }' | sed 's/^"\(.*\)"$/\1/; s/\\\(["\\]\)/\1/g'
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

# check_encoders [DEFAULT ARGS...] -- ARGS... (of precompute): both folders of the recipe are there and of a kind that can be read.
# NO_CODEC=1: not the codec. The program prints the recipe below the entry, as comments.
check_encoders() {
  local words resolved key folder kind="" wrong=0
  job_words "$@"
  resolved=$(resolved_config precompute "${words[@]}") || return
  resolved=$(sed -n 's/^# //p' <<<"$resolved")
  for key in images.codec text.encoder; do
    [ $key != images.codec ] || [ -z "${NO_CODEC:-}" ] || continue
    folder=$(setting $key <<<"$resolved")
    if [ ! -d "$folder" ]; then
      echo "precompute: $key: $folder: no such folder; the recipe's file says where it comes from" >&2
      wrong=2
    elif [ ! -f "$folder/config.json" ]; then
      echo "precompute: $key: $folder has no config.json: the folder of one model is wanted, as its publisher ships it" >&2
      wrong=2
    elif [ $key = text.encoder ]; then
      kind=$(grep -oE '"model_type"[[:space:]]*:[[:space:]]*"[^"]*"' "$folder/config.json" | head -n 1 | sed 's/.*"\([^"]*\)"$/\1/')
    fi
  done
  [ "$kind" != bert ] || return $wrong
  echo "precompute: text.encoder: $folder${kind:+ is a \"$kind\"}: only BERT encoders (\"model_type\": \"bert\" in config.json) can be read so far; a dataset with a CLIP or T5 encoder, as configs/datasets/cc12m.yaml, cannot be precomputed yet" >&2
  return 2
}
