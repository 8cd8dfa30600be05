# Sourced by sweep.sh: the cells of a grid, and every mistake that can be known before the first is submitted.

check_cluster() {
  [ $here = 0 ] || return 0
  controller=$(max_array_size)
  [ -n "$controller" ] || [ $dry_run = 1 ] ||
    die "no Slurm controller answers (scontrol show config); --local trains the cells here, one after another"
}

# split_values TEXT: sets `values`, what stands between commas outside of brackets and quotes; range(BEGIN,END) or range(BEGIN,END,STEP), as
# Hydra's, stands for whole numbers from BEGIN to before END.
split_values() {
  local text=$1 i c depth=0 quote="" value=""
  values=()
  for ((i = 0; i < ${#text}; i++)); do
    c=${text:i:1}
    if [ -n "$quote" ]; then
      [ "$c" != "$quote" ] || quote=""
    else
      case $c in
        \' | \") quote=$c ;;
        \[ | \{ | \() depth=$((depth + 1)) ;;
        \] | \} | \)) depth=$((depth - 1)) ;;
        ,) [ $depth != 0 ] || { add_value "$value"; value=""; continue; } ;;
      esac
    fi
    value+=$c
  done
  add_value "$value"
}
add_value() {
  local number='(-?[0-9]{1,9})'
  if [[ ${1// /} =~ ^range\($number,$number(,([1-9][0-9]{0,8}))?\)$ ]]; then
    mapfile -t -O ${#values[@]} values < <(seq "${BASH_REMATCH[1]}" "${BASH_REMATCH[4]:-1}" $((BASH_REMATCH[2] - 1)))
  else
    values+=("$1")
  fi
}

# label KEY VALUE: its part of a cell's name: short, legal, and another for another value.
label() {
  local key=${1##*.} value=$2
  [ "${last_parts[$key]}" = 1 ] || key=$1
  if ! [[ $value =~ ^[A-Za-z0-9._+-]{1,40}$ ]]; then
    value=${value//[^A-Za-z0-9._+-]/_}
    value=${value:0:30}-$(cksum <<<"$2" | cut -d' ' -f1)
  fi
  echo "$key=$value"
}

# Sets names[i] and settings[i] (key=value, tabs between them) of every cell; the last grid changes fastest.
make_cells() {
  local grid key value i part before_names before_settings
  declare -gA last_parts=()
  local -A keys=() seen=()
  names=("") settings=("")
  for grid in "${grids[@]}"; do
    key=${grid%%=*}
    [[ $grid =~ ^[A-Za-z_][A-Za-z0-9_.]*=. ]] || die "--grid $grid: expected KEY=VALUE,VALUE,..."
    [ "$key" != name ] && [ "$key" != runs ] || die "--grid $grid: the sweep gives each cell its $key"
    [ -z "${keys[$key]:-}" ] || die "--grid $key is given twice: --grid $key=A,B,... takes all its values"
    keys[$key]=1 last_parts[${key##*.}]=$((${last_parts[${key##*.}]:-0} + 1))
  done
  for grid in "${grids[@]}"; do
    key=${grid%%=*}
    split_values "${grid#*=}"
    [ ${#values[@]} -gt 0 ] || die "--grid $grid: names no value"
    before_names=("${names[@]}") before_settings=("${settings[@]}") names=() settings=()
    for i in "${!before_names[@]}"; do
      for value in "${values[@]}"; do
        [[ -n $value && $value != *[$'\t\n']* ]] || die "--grid $grid: a value is empty, or holds a tab or a line's end"
        part=$(label "$key" "$value")
        names+=("${before_names[$i]:+${before_names[$i]},}$part")
        settings+=("${before_settings[$i]:+${before_settings[$i]}$'\t'}$key=$value")
      done
    done
  done
  for i in "${!names[@]}"; do
    [ -z "${seen[${names[$i]}]:-}" ] || die "two cells would be called ${names[$i]}: a value is given twice"
    seen[${names[$i]}]=1
    [ ${#names[$i]} -le 200 ] || die "${names[$i]}: a run's name has at most 200 letters; fewer --grid"
  done
}

# Sets sweep, folder, and common, the words of every cell (a job puts MICRODIT_ARGS before them).
find_folder() {
  local resolved runs
  common=(--config "$train" "${given[@]}")
  resolved=$(resolved_config train ${MICRODIT_ARGS:-} "${common[@]}" name=sweep) || die "train cannot start with these settings (above)"
  runs=$(setting runs <<<"$resolved")
  sweep=$name
  [ -n "$sweep" ] || sweep=$(resolved_config train ${MICRODIT_ARGS:-} "${common[@]}" | setting name)_sweep
  [[ $sweep =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] || die "--name ${sweep:-''}: expected letters, digits, and . _ + -"
  folder=$runs/$sweep
  [ ! -e "$folder/settings.json" ] || die "$folder is a run of its own; give the sweep another name: --name NAME"
  can_write "$folder" && can_write slurm/logs || die "$folder, slurm/logs: cannot write there"
  local i
  for i in "${!settings[@]}"; do settings[$i]+=$'\t'"runs=$folder"$'\t'"name=${names[$i]}"; done
}

# Sets places[i]: the cell's line in folder/cells.txt. Lines that are there stay: jobs that wait read theirs when they begin.
place_cells() {
  local i line place
  local -A there=()
  lines=() places=()
  cells_read=$(cat "$folder/cells.txt" 2>/dev/null)
  [ -z "$cells_read" ] || mapfile -t lines <<<"$cells_read"
  for i in "${!lines[@]}"; do there[${lines[$i]%%$'\t'*}]=$i; done
  for i in "${!names[@]}"; do
    line=${names[$i]}$'\t'${settings[$i]} place=${there[${names[$i]}]:-}
    [ -n "$place" ] || { place=${#lines[@]}; lines+=("$line"); }
    [ "${lines[$place]}" = "$line" ] ||
      die "$folder has a cell ${names[$i]} with other settings ($(cut -f 2- <<<"${lines[$place]}" | tr '\t' ' ')); give this sweep another name: --name NAME"
    places+=("$place")
  done
  [ $here = 1 ] || [ -z "$controller" ] || [ ${#lines[@]} -le "$controller" ] ||
    die "${#lines[@]} cells in $folder: this Slurm takes arrays of at most $controller tasks (MaxArraySize)"
}
# One sweep.sh at a time from here on; what another has done since cells.txt and the queue were read is not overlooked.
lock_folder() {
  local i
  exec 9>"$folder/.sweep.lock"
  flock -n 9 || die "another sweep.sh is at work on $folder; the same command later takes its cells into account"
  [ "$(cat "$folder/cells.txt" 2>/dev/null)" = "$cells_read" ] || die "another sweep.sh has added cells to $folder meanwhile; the same command again"
  ask_queue "$folder" || [ $here = 1 ] || die "squeue does not answer: what runs already is not known"
  for i in "${todo[@]}"; do
    ! grep -q "^${places[$i]}|" <<<"$queue" || die "another sweep.sh has submitted ${names[$i]} meanwhile; the same command again"
  done
}
write_cells() {
  printf '%s\n' "${lines[@]}" >"$folder/.cells.txt.$$" && sync "$folder/.cells.txt.$$" && mv "$folder/.cells.txt.$$" "$folder/cells.txt" || exit
}

# is_done I: its run has reached the steps that are asked for now (`finished`: what doctor says has ended). Refused where it was trained with
# other settings than those of now.
is_done() {
  local i=$1 steps said
  [[ $'\n'$finished$'\n' == *$'\n'"${names[$i]}"$'\n'* ]] || return 1
  said=$(${MICRODIT_PREFIX:-} "$bin/train" ${MICRODIT_ARGS:-} "${common[@]}" "${cell[@]}" --check-settings 2>&1) ||
    { echo "$said" >&2; die "${names[$i]} is trained already, with other settings (above); give this sweep another name: --name NAME"; }
  steps=$(resolved_config train ${MICRODIT_ARGS:-} "${common[@]}" "${cell[@]}" 2>/dev/null | setting steps)
  [ -n "$steps" ] && [ "$steps" = "$(setting steps <"$folder/${names[$i]}/config.yaml")" ]
}

# Each cell is read by the program, which looks at its data, too. Sets todo; and command and payload, which Slurm would take.
check_cells() {
  local i said cell array="" ran=0 waiting=0
  finished=""
  # The queue first: what leaves it meanwhile is done by the time that doctor looks.
  ask_queue "$folder" || [ $here = 1 ] || [ -z "$controller" ] || die "squeue does not answer: what runs already is not known"
  [ ! -f "$folder/cells.txt" ] || finished=$(${MICRODIT_PREFIX:-} "$bin/doctor" runs "$folder" | awk '$2 == "done" { print $1 }')
  todo=()
  for i in "${!names[@]}"; do
    IFS=$'\t' read -ra cell <<<"${settings[$i]}"
    if grep -q "^${places[$i]}|" <<<"$queue"; then waiting=$((waiting + 1)); continue; fi
    if is_done "$i"; then ran=$((ran + 1)); continue; fi
    said=$(${MICRODIT_PREFIX:-} "$bin/train" ${MICRODIT_ARGS:-} "${common[@]}" "${cell[@]}" --dry-run 2>&1) || { echo "$said" >&2; die "${names[$i]} cannot start with these settings (above)"; }
    ! grep -qE "is not (there|complete) yet" <<<"$said" || { echo "$said" >&2; die "${names[$i]} cannot start: its data is not there (above)"; }
    todo+=("$i")
    array+=${array:+,}${places[$i]}
  done
  echo "sweep: $folder: ${#names[@]} cells: $ran done, $waiting in the queue, ${#todo[@]} to do" >&2
  [ $here = 0 ] && [ ${#todo[@]} -gt 0 ] && [ -n "$controller" ] || return 0
  site_options slurm/sweep.sbatch || exit
  command=(sbatch --parsable "${options[@]}" "--job-name=$sweep" "${sbatch[@]}" "--array=$array${at_once:+%$at_once}"
    "--comment=sweep $(realpath -m "$folder")")
  payload=(slurm/sweep.sbatch --cells "$folder/cells.txt" "${common[@]}")
  would_take "the array"
}
