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

# Sets `datasets`, and `labels` where there are several: their jobs are called by the files' names.
check_datasets() {
  local i j label
  mapfile -t datasets < <(tr , '\n' <<<"$dataset")
  labels=("")
  for i in "${!datasets[@]}"; do
    [ -n "${datasets[$i]}" ] || die "--dataset $dataset: a file's name is empty"
    [ ${#datasets[@]} -gt 1 ] || continue
    label=$(basename "${datasets[$i]}" .yaml) label=${label//[^A-Za-z0-9_]/_}
    for ((j = 0; j < i; j++)); do
      [ "${labels[$j]}" != "$label" ] || die "--dataset $dataset: the jobs of two entries would be called $label"
    done
    labels[$i]=$label
  done
}

# Files, programs, the number of tasks.
check_files() {
  local file
  for file in "${datasets[@]}" ${prompts:+"$prompts"} ${codec:+"$codec"} ${tokenizer:+"$tokenizer"} "${configs[@]}"; do
    [ -f "$file" ] || die "no file $file"
  done
  [ -z "$prompts" ] || grep -q '[^[:space:]]' "$prompts" || die "--prompts $prompts: no prompt in it"
  check_programs download clean precompute train ${codec:+train_codec} ${tokenizer:+train_tokenizer} generate evaluate
  [[ $tasks =~ ^[1-9][0-9]*(%[1-9][0-9]*)?$ ]] || die "--tasks $tasks: expected a number of at least 1, or N%K"
  controller=$(max_array_size)  # "": none answers
  if [ -z "$controller" ]; then
    [ $dry_run = 1 ] || die "no Slurm controller answers (scontrol show config); on a machine without one: scripts/local_slurm.sh up"
  elif [ "${tasks%\%*}" -gt "$controller" ]; then
    die "--tasks $tasks: this Slurm takes arrays of at most $controller tasks (MaxArraySize)"
  fi
}

# The programs read the entries and the overrides; encoders are there, or will be fetched with the data. Sets folders[i], the
# name under samples/ and latents/ of entry i.
check_data_stages() {
  local stage words i j resolved name all=() fetch
  folders=()
  for stage in download clean precompute; do
    is_active $stage || continue
    for i in "${!datasets[@]}"; do
      job_words -- --config "${datasets[$i]}" "${data_set[@]}"
      resolved=$(resolved_config $stage "${words[@]}") || die "$stage cannot start with these settings (above)"
      [ $stage != download ] || check_source "${datasets[$i]}" <<<"$resolved"
      name=$(setting name <<<"$resolved")
      [ "$(setting subset <<<"$resolved")" != small ] || name+=-small
      folders[$i]=$name
    done
  done
  for i in "${!folders[@]}"; do
    for ((j = 0; j < i; j++)); do
      [ -z "${folders[$i]}" ] || [ "${folders[$i]}" != "${folders[$j]}" ] ||
        die "${datasets[$j]} and ${datasets[$i]} are both called ${folders[$i]}: each entry needs a name of its own"
    done
  done
  is_active precompute || return 0
  local MADE_CODEC="" MADE_TOKENIZER="" made_is_read=""
  if [ -n "$codec" ] && is_active train_codec; then
    job_words -- --config "$codec"
    resolved=$(resolved_config train_codec "${words[@]}") || die "train_codec cannot start with these settings (above)"
    MADE_CODEC=$(setting runs <<<"$resolved")/$(setting name <<<"$resolved")/codec
  fi
  if [ -n "$tokenizer" ] && is_active train_tokenizer; then
    job_words -- --config "$tokenizer"
    resolved=$(resolved_config train_tokenizer "${words[@]}") || die "train_tokenizer cannot start with these settings (above)"
    MADE_TOKENIZER=$(setting output <<<"$resolved")
    MADE_TOKENIZER=${MADE_TOKENIZER:-${MICRODIT_DATA:-data}/weights/$(setting name <<<"$resolved")}
    ! is_active clean || check_made train_tokenizer samples <<<"$resolved"
  fi
  if is_active download; then local FETCH=1; fi  # as jobs of its own, which become `fetches`
  for i in "${!datasets[@]}"; do
    check_encoders -- --config "${datasets[$i]}" "${data_set[@]}" ||
      die "precompute could not read its encoders (above), so nothing after it could run; --until clean stops before it"
    for fetch in "${fetches[@]}"; do
      [[ " ${all[*]} " == *" $fetch "* ]] || all+=("$fetch")
    done
  done
  [ -z "$MADE_CODEC" ] || [[ $made_is_read == *CODEC* ]] ||
    echo "pipeline: $codec makes $MADE_CODEC, which no recipe of these datasets reads (images.codec)" >&2
  [ -z "$MADE_TOKENIZER" ] || [[ $made_is_read == *TOKENIZER* ]] ||
    echo "pipeline: $tokenizer makes $MADE_TOKENIZER, which no recipe of these datasets reads (text.encoder)" >&2
  fetches=("${all[@]}")
}

# check_source ENTRY: what its resolved config on stdin takes from here is here: a list, a folder, the hub's token.
check_source() {
  local resolved list page folder
  resolved=$(cat)
  list=$(setting source.list_file <<<"$resolved") page=$(setting source.list_page <<<"$resolved") folder=$(setting source.folder <<<"$resolved")
  [ -z "$list" ] || ${MICRODIT_PREFIX:-} test -f "$list" ||
    die "$1: source.list_file: no file $list${page:+; a list is to be had at $page}"
  [ -z "$folder" ] || ${MICRODIT_PREFIX:-} test -d "$folder" || die "$1: source.folder: no folder $folder"
  [ "$(setting source.gated <<<"$resolved")" != true ] || [ -n "${HF_TOKEN:-}${HF_TOKEN_FILE:-}" ] ||
    [ -s "${HF_HOME:-${HOME:-}/.cache/huggingface}/token" ] ||
    die "$1 is gated: accept its terms on the hub, then set HF_TOKEN_FILE to a file (mode 0600) with your token"
}

# data_names: the datasets that the resolved config on stdin trains on.
data_names() { sed -n '/^data:/,/^[a-z]/s/^[ -]*dataset: *//p' | bare; }

# check_made WHO KIND: what the resolved config on stdin trains on is made by this chain, or there (KIND: samples, latents).
check_made() {
  local name
  while read -r name; do
    [[ -n $name && $name != */* && " ${folders[*]} " != *" $name "* ]] || continue
    [ -d "${MICRODIT_DATA:-data}/$2/$name" ] || die "$1 trains on $name, which is not in ${MICRODIT_DATA:-data}/$2 and which no entry of --dataset $dataset makes (they make: ${folders[*]})"
  done < <(data_names)
}

# Each phase is read by its program. Sets runs[i], and phase_init[i] where a phase starts from an earlier one of this chain
# that --train-set has put under another root; of the last, what it takes (text, classes, text and classes, nothing) and whether it
# learns a null (learned_null), the first of its data (reference), size and steps.
check_training() {
  local i j resolved name root init words
  runs=()
  if [ -n "$codec" ] && is_active train_codec; then
    job_words -- --config "$codec"
    resolved=$(resolved_config train_codec "${words[@]}") || die "train_codec cannot start with these settings (above)"
    ! is_active clean || check_made train_codec samples <<<"$resolved"
  fi
  for i in "${!configs[@]}"; do
    job_words -- --config "${configs[$i]}" "${train_set[@]}"
    resolved=$(resolved_config train "${words[@]}") || die "${phases[$i]} cannot start with these settings (above)"
    name=$(setting name <<<"$resolved") root=$(setting runs <<<"$resolved") init=$(setting init.from <<<"$resolved")
    for ((j = 0; j < i; j++)); do
      [ "${runs[$j]}" != "$root/$name" ] || die "${phases[$j]} and ${phases[$i]} would both write to $root/$name: each phase needs a name of its own"
    done
    runs+=("$root/$name")
    takes=$(sed -n 's/^# takes: //p' <<<"$resolved") learned_null=$(setting model.learned_null <<<"$resolved")
    [ -n "$takes" ] || die "${MICRODIT_BIN:-build/bin}/train --print-config does not say what a run takes: it is older than these scripts; build again"
    size=$(setting size <<<"$resolved") steps=$(setting steps <<<"$resolved")
    reference=$(data_names <<<"$resolved" | head -n 1)
    is_active "${phases[$i]}" || continue
    ! is_active precompute || check_made "${phases[$i]}" latents <<<"$resolved"
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

# Sets what generate paints (painted) and what score measures (scored). Score's network and reference are there, or will be.
check_sampling() {
  local words bin=${MICRODIT_BIN:-build/bin}
  painted=(num_images=8 trajectory=8)
  case $takes in
    text*)
      prompts=${prompts:-configs/sample/prompts.txt} painted=()
      [ -f "$prompts" ] || die "no file $prompts" ;;
    nothing) [ -z "$prompts" ] || die "--prompts $prompts: $run is conditioned on nothing" ;;
  esac
  if is_active generate && [ "$takes" = "text and classes" ] && [ "$learned_null" != true ]; then
    die "generate: $run is conditioned on text and classes, a prompt says no class, and the model learns none for that: --train-set model.learned_null=true, or leave the stage out"
  fi
  [ -z "$wants_score" ] || [ "$takes" = classes ] ||
    die "score is a stage of class-conditional runs, and $run is conditioned on $takes: slurm/coco30k.sh paints captions and scores them"
  painted+=(${prompts:+--prompts "$prompts"})
  [ "$takes" = classes ] && is_active score || return 0
  score=${score:-100}
  [[ $score =~ ^[1-9][0-9]*$ ]] || die "--score $score: expected a number of pictures of each class"
  scored=$run/images/score_${steps}_$score
  ${MICRODIT_PREFIX:-} test -x "$bin/score" || die "$bin/score is missing: build it, or leave the stage out: --until evaluate"
  [[ " ${folders[*]} " == *" $reference "* ]] || [ -f "${MICRODIT_DATA:-data}/samples/$reference/facts.json" ] ||
    die "score: no pictures of $reference in ${MICRODIT_DATA:-data}/samples to compare with; --until evaluate leaves the stage out"
  [[ " ${score_set[*]} " != *" network=clip "* ]] || die "--score-set network=clip: CLIP scores compare with captions; this run is conditioned on classes"
  job_words -- "${score_set[@]}"
  ${MICRODIT_PREFIX:-} "$bin/score" "${words[@]}" --dry-run >/dev/null ||
    die "score cannot start with these settings (above); --until evaluate leaves the stage out"
}

# The first stage's input is there: its program looks, and says what the stage will need. (A download's lies elsewhere.)
check_first() {
  local i words
  case $from in
    download | generate | evaluate | score) return 0 ;;
    clean | precompute)
      for i in "${datasets[@]}"; do
        job_words -- --config "$i" "${data_set[@]}"
        has_input "$from"
      done ;;
    train_codec) job_words -- --config "$codec"; has_input train_codec ;;
    train_tokenizer) job_words -- --config "$tokenizer"; has_input train_tokenizer ;;
    *)
      for i in "${!phases[@]}"; do
        [ "${phases[$i]}" != "$from" ] || job_words -- --config "${configs[$i]}" "${train_set[@]}" ${phase_init[$i]:+"${phase_init[$i]}"}
      done
      has_input train ;;
  esac
}
# has_input PROGRAM: a dry run with `words` finds what it reads.
has_input() {
  local said
  said=$(${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/$1" "${words[@]}" --dry-run) || { echo "$said" >&2; die "$from cannot start (above)"; }
  echo "$said" >&2
  # A dry run takes what is not there for what comes later; but before this stage nothing runs.
  ! grep -qE "is not (there|complete) yet" <<<"$said" || die "$from is the first stage, and its input is not there (above); --from an earlier one"
}

# Each root can be written, though nothing is made there yet; what is sampled from is there, or will be.
check_folders() {
  local stage folder i roots=(slurm/logs)
  for stage in download clean precompute; do
    if is_active $stage; then roots+=("${MICRODIT_DATA:-data}"); break; fi
  done
  for i in "${!runs[@]}"; do
    if is_active "${phases[$i]}"; then roots+=("${runs[$i]}"); fi
  done
  if { is_active generate || is_active evaluate || is_active score; } && ! is_active "${phases[-1]}"; then
    [ -d "${runs[-1]}" ] || die "--from $from: there is no run ${runs[-1]} to sample from"
    roots+=("${runs[-1]}")
  fi
  for folder in "${roots[@]}"; do can_write "$folder" || die "$folder: cannot write there"; done
}

# check_job STAGE SCRIPT ...: Slurm would take the job.
check_job() {
  prepare "$@"
  would_take "$1"
}
