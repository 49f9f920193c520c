#!/usr/bin/env bash
# `cascade` beside age and, where it is installed, rage, taking turns, to /dev/null: through pipes, from a generator or
# the page cache; and from a file in memory, where no pipe and no other program is in the way. Prints for each the least
# wall clock and processor time of all rounds, and the same of `cat`, which is what the pipe, the program at its other
# end and reading take.
#
#     cargo build --release -p cc-cli
#     benches/files.sh [BYTES] [ROUNDS]
set -euo pipefail
bytes=${1:-1073741824}
rounds=${2:-5}
cascade=${CASCADE:-$(dirname "$0")/../target/release/cascade}
# In memory, where there is such a place.
folder=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$folder"' EXIT
"$cascade" keygen -o "$folder/cascade.key" 2> /dev/null
public=$("$cascade" keygen --public "$folder/cascade.key")
age-keygen -o "$folder/age.key" 2> /dev/null
age_public=$(age-keygen -y "$folder/age.key")

# In large writes: `head -c` takes longer than the encryption.
generate() { dd if=/dev/zero bs=1M count="$bytes" iflag=count_bytes status=none; }

declare -A encrypt=(
    [cascade]="$cascade encrypt -r $public"
    [age]="age -r $age_public"
)
declare -A decrypt=(
    [cascade]="$cascade decrypt -i $folder/cascade.key"
    [age]="age -d -i $folder/age.key"
)
if command -v rage > /dev/null; then
    encrypt[rage]="rage -r $age_public"
    decrypt[rage]="rage -d -i $folder/age.key"
fi
encrypt[cat]="cat"
decrypt[cat]="cat"
generate > "$folder/plain"
for tool in "${!encrypt[@]}"; do generate | ${encrypt[$tool]} > "$folder/$tool.sealed"; done

TIMEFORMAT='%R %U %S'
for round in $(seq "$rounds"); do
    for tool in "${!encrypt[@]}"; do
        times=$({ generate | { time ${encrypt[$tool]} > /dev/null; }; } 2>&1)
        echo "encrypt $tool $times"
        times=$({ cat "$folder/$tool.sealed" | { time ${decrypt[$tool]} > /dev/null; }; } 2>&1)
        echo "decrypt $tool $times"
        times=$({ time ${encrypt[$tool]} "$folder/plain" > /dev/null; } 2>&1)
        echo "encrypt-file $tool $times"
        times=$({ time ${decrypt[$tool]} "$folder/$tool.sealed" > /dev/null; } 2>&1)
        echo "decrypt-file $tool $times"
    done
done | awk -v bytes="$bytes" -v figures="${CC_BENCH_FIGURES:-}" '
    { name = $1 " " $2; cpu = $4 + $5
      if (!(name in wall) || $3 < wall[name]) wall[name] = $3
      if (!(name in least) || cpu < least[name]) least[name] = cpu }
    END { for (name in wall) {
        if (figures != "") {
            split(name, of, " ")
            printf "files/%s\tthroughput\t%s\tB/s\t%f\n", of[1], of[2], bytes / wall[name] >> figures
            printf "files/%s\tprocessor time for each GiB\t%s\tns\t%f\n", of[1], of[2],
                least[name] * 1073741824 / bytes * 1e9 >> figures
        }
        printf "%-21s %7.0f MB/s wall, %6.2f s of processor for each GiB\n", name,
            bytes / wall[name] / 1e6, least[name] * 1073741824 / bytes } }' | sort
