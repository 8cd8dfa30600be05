# Sourced by pipeline.sh: every mistake that can be known before the first submission. A check prints and exits 2.

# Sets position[STAGE]; --from and --until are stages in this order.
check_stages() {
  local stage number=0
  declare -gA position=()
  for stage in "${stages[@]}"; do
    [ -z "${position[$stage]:-}" ] || die "--train $train: two stages are called $stage"
    position[$stage]=$((++number))
  done
  for stage in "$from" "$until"; do
    [ -n "${position[$stage]:-}" ] || die "$stage: no such stage (--from, --until); stages: ${stages[*]}"
  done
  [ "${position[$from]}" -le "${position[$until]}" ] || die "--from $from --until $until: $until comes before $from; stages: ${stages[*]}"
}

# Files, programs, the number of tasks.
check_files() {
  local file stage
  for file in "$dataset" "$prompts" ${codec:+"$codec"} "${configs[@]}"; do
    [ -f "$file" ] || die "no file $file"
  done
  grep -q '[^[:space:]]' "$prompts" || die "--prompts $prompts: no prompt in it"
  local bin=${MICRODIT_BIN:-build/bin} build="build first (scripts/setup.sh, then cmake --preset release && ninja -C build jobs)"
  for stage in download clean precompute train ${codec:+train_codec} generate evaluate; do
    ${MICRODIT_PREFIX:-} test -x "$bin/$stage" || die "$bin/$stage is missing${MICRODIT_PREFIX:+ behind MICRODIT_PREFIX=$MICRODIT_PREFIX}: $build"
  done
  [ -x "${MICRODIT_LIFE:-$bin/life}" ] || die "${MICRODIT_LIFE:-$bin/life} is missing${MICRODIT_PREFIX:+ (outside of the container: MICRODIT_LIFE)}: $build"
  [[ $tasks =~ ^[1-9][0-9]*(%[1-9][0-9]*)?$ ]] || die "--tasks $tasks: expected a number of at least 1, or N%K"
  controller=$(timeout 20 scontrol show config 2>/dev/null | sed -n 's/^MaxArraySize *= *//p')  # "": none answers
  if [ -z "$controller" ]; then
    [ $dry_run = 1 ] || die "no Slurm controller answers (scontrol show config); on a machine without one: scripts/local_slurm.sh up"
  elif [ "${tasks%\%*}" -gt "$controller" ]; then
    die "--tasks $tasks: this Slurm takes arrays of at most $controller tasks (MaxArraySize)"
  fi
}

# The programs read the dataset's file and the overrides; encoders are there, or will be fetched with the data.
check_data_stages() {
  local stage words
  for stage in download clean precompute; do
    is_active $stage || continue
    job_words -- --config "$dataset" "${data_set[@]}"
    resolved_config $stage "${words[@]}" >/dev/null || die "$stage cannot start with these settings (above)"
  done
  is_active precompute || return 0
  if [ -n "$codec" ] && is_active train_codec; then local NO_CODEC=1; fi
  if is_active download; then local FETCH=1; fi  # as jobs of its own, which become `fetches`
  check_encoders -- --config "$dataset" "${data_set[@]}" ||
    die "precompute could not read its encoders (above), so nothing after it could run; --until clean stops before it"
}

# Each phase is read by its program. Sets runs[i], and phase_init[i] where a phase starts from an earlier one of this chain
# that --train-set has put under another root.
check_training() {
  local i j resolved name root init words
  runs=()
  if [ -n "$codec" ] && is_active train_codec; then
    job_words -- --config "$codec"
    resolved_config train_codec "${words[@]}" >/dev/null || die "train_codec cannot start with these settings (above)"
  fi
  for i in "${!configs[@]}"; do
    job_words -- --config "${configs[$i]}" "${train_set[@]}"
    resolved=$(resolved_config train "${words[@]}") || die "${phases[$i]} cannot start with these settings (above)"
    name=$(setting name <<<"$resolved") root=$(setting runs <<<"$resolved") init=$(setting init.from <<<"$resolved")
    for ((j = 0; j < i; j++)); do
      [ "${runs[$j]}" != "$root/$name" ] || die "${phases[$j]} and ${phases[$i]} would both write to $root/$name: each phase needs a name of its own"
    done
    runs+=("$root/$name")
    is_active "${phases[$i]}" || continue
    [ -z "$init" ] || check_init "$i" "$init"
    # A run that is there already goes on only with the settings that it was started with.
    ${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/train" "${words[@]}" ${phase_init[$i]:+"${phase_init[$i]}"} --check-settings >/dev/null ||
      die "${phases[$i]} cannot start with these settings (above)"
  done
}
# check_init PHASE FROM: what a phase starts from is there, or will be by then.
check_init() {
  local i=$1 init=$2 j
  for ((j = 0; j < i; j++)); do
    [ "$(basename "$init")" = "$(basename "${runs[$j]}")" ] || continue
    if [ "$init" != "${runs[$j]}" ] && [[ " ${train_set[*]} " != *" init.from="* ]]; then
      echo "pipeline: ${phases[$i]} starts from ${runs[$j]}, not from its file's $init" >&2
      init=${runs[$j]}
      phase_init[$i]=init.from=$init
    fi
    if [ "$init" = "${runs[$j]}" ] && is_active "${phases[$j]}"; then return 0; fi
  done
  [ -e "$init" ] || die "${phases[$i]} starts from $init (init.from), which is not there and which no stage between $from and $until makes"
}

# The first stage's input is there: its program looks, and says what the stage will need. (A download's lies elsewhere.)
check_first() {
  local i words said stage=$from
  case $from in
    download | generate | evaluate) return 0 ;;
    clean | precompute) job_words -- --config "$dataset" "${data_set[@]}" ;;
    train_codec) job_words -- --config "$codec" ;;
    *)
      for i in "${!phases[@]}"; do
        [ "${phases[$i]}" != "$from" ] || job_words -- --config "${configs[$i]}" "${train_set[@]}" ${phase_init[$i]:+"${phase_init[$i]}"}
      done
      stage=train ;;
  esac
  said=$(${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/$stage" "${words[@]}" --dry-run) || { echo "$said" >&2; die "$from cannot start (above)"; }
  echo "$said" >&2
  # A dry run takes what is not there for what comes later; but before this stage nothing runs.
  ! grep -qE "is not (there|complete) yet" <<<"$said" || die "$from is the first stage, and its input is not there (above); --from an earlier one"
}

# Each root can be written, though nothing is made there yet; what is sampled from is there, or will be.
check_folders() {
  local stage folder i folders=(slurm/logs)
  for stage in download clean precompute; do
    if is_active $stage; then folders+=("${MICRODIT_DATA:-data}"); break; fi
  done
  for i in "${!runs[@]}"; do
    if is_active "${phases[$i]}"; then folders+=("${runs[$i]}"); fi
  done
  if { is_active generate || is_active evaluate; } && ! is_active "${phases[-1]}"; then
    [ -d "${runs[-1]}" ] || die "--from $from: there is no run ${runs[-1]} to sample from"
    folders+=("${runs[-1]}")
  fi
  for folder in "${folders[@]}"; do can_write "$folder" || die "$folder: cannot write there"; done
}
can_write() {
  local folder=$1 probe
  while [ ! -e "$folder" ] && [ "$folder" != . ] && [ "$folder" != / ]; do folder=$(dirname "$folder"); done
  probe=$(mktemp -d -p "$folder" .writable-XXXXXX 2>/dev/null) && rmdir "$probe"
}

# check_job STAGE SCRIPT ...: Slurm would take the job (partition, account, time, GPUs). That nodes are down now is no mistake.
check_job() {
  local said
  prepare "$@"
  said=$("${command[@]}" --test-only "${payload[@]}" 2>&1) && return 0
  [[ $said != *"down, drained or reserved"* && $said != *"busy"* ]] || return 0
  echo "$said" >&2
  die "Slurm would refuse $1: $(quoted "${command[@]}" "${payload[@]}")"
}
