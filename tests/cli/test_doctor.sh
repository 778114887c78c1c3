#!/bin/sh
# test_doctor.sh: the report of `doctor`, its JSON, and that it sees what taskset and control groups
# take away. Each run measures for a second or two, so there are few.
. "$(dirname "$0")/lib.sh"

# field NAME: the value of a JSON member, without quotes
field() { sed -n "s/^ *\"$1\": \"\{0,1\}\(.*[^,\"]\)\"\{0,1\},\{0,1\}$/\1/p" out | head -1; }

# holds CONDITION NAME: CONDITION in awk, on the fields as variables
holds()
{
    awk -v cores="$(field n_cores)" -v logical="$(field n_logical)" \
        -v cores_allowed="$(field n_cores_allowed)" -v allowed="$(field n_logical_allowed)" \
        -v threads="$(field n_threads)" -v quota="$(field quota_cpus)" \
        -v total="$(field total_bytes)" -v free="$(field free_bytes)" \
        -v limit="$(field limit_bytes)" -v gbs="$(field bandwidth_gbs)" \
        -v gbs1="$(field bandwidth_1_thread_gbs)" "BEGIN { exit !($1) }"
    result $? "doctor: $2"
}

# ---- text, with a model ----

mkdir models
cp "$demo" models/model.gguf
(cd models && exec "$MOXIE" doctor model.gguf -t 1) >out 2>err
[ $? = 0 ] && [ ! -s err ]
result $? 'doctor MODEL'
[ "$(ls -A models)" = model.gguf ]
result $? 'doctor: leaves nothing behind'
awk 'length($0) > 80 { bad = 1 } END { exit bad }' out
result $? 'doctor: fits 80 columns'
report=$(tr -s ' \n' '  ' <out)
for words in 'processor *' 'cores *' 'threads 1 will be used: as -t says' 'products * billion int8 products per second' 'SIMD * will be used' \
    'memory * moxie can take' 'bandwidth * GB/s with one thread' 'disk . is on' \
    'GB/s in pieces of 4 MiB' 'limits open files' 'moxie has no Vulkan or OpenCL yet' \
    'system Linux' 'terminal standard output is no terminal' \
    'messages on standard error are not coloured' 'model model.gguf: llama, Q8_0,' \
    'it fits' 'tokens/s at most'; do
    like "$report" "*$words*"
    result $? "doctor says: $words"
done

# ---- JSON ----

check 'doctor --json' 0 '~{*}' '' doctor --json
lacks=
for name in version processor name arch n_cores n_logical n_cores_allowed n_logical_allowed \
    quota_cpus n_numa_nodes governor load n_threads n_threads_why int8_gmacs simd used levels needs usable \
    why_not without_kernels caches memory total_bytes free_bytes limit_bytes swap_bytes huge_pages \
    bandwidth_gbs bandwidth_1_thread_gbs disk directory filesystem source rotating read_gbs \
    read_bytes read_direct read_file limits open_files stack_bytes memlock_bytes gpus system \
    kernel distribution machine virtual container term locale stdout_is_terminal stderr_has_color \
    model hints
do
    grep -q "^ *\"$name\":" out || lacks="$lacks $name"
done
[ -z "$lacks" ]
result $? "doctor --json: fields:$lacks"
holds 'cores >= 1 && cores <= logical && cores_allowed <= cores && allowed <= logical' 'CPUs add up'
holds 'threads >= 1 && threads <= cores_allowed' 'threads are cores that may be used'
holds 'free > 0 && free <= total' 'memory adds up'
holds 'gbs > 0.1 && gbs < 10000 && gbs1 > 0.1 && gbs1 < 10000' 'a bandwidth that can be'
[ "$(field model)" = null ]
result $? 'doctor --json: no model'
cores=$(field n_cores)

head -c 9000000 "$MOXIE" >large
first=$(taskset -pc $$ 2>/dev/null | sed 's/.*: //;s/[-,].*//')
if [ -n "$first" ]; then
    taskset -c "$first" "$MOXIE" doctor --json -m models/model.gguf >out 2>err
    holds 'allowed == 1 && threads == 1' 'taskset leaves one CPU'
    [ "$cores" = 1 ] || like "$(cat out)" '*taskset or a cpuset allows this process 1 of *'
    result $? 'doctor: and says so'
    [ "$(field fits)" = true ]
    result $? 'doctor: the demo model fits'
    awk -v gbs="$(field bandwidth_gbs)" -v bytes="$(field bytes_per_token)" \
        -v ts="$(field ceiling_ts)" 'BEGIN { r = gbs * 1e9 / bytes / ts; exit !(r > 0.99 && r < 1.01) }'
    result $? 'doctor: ceiling = bandwidth / bytes per token'
else
    skip 'doctor under taskset' 'no taskset here'
fi

if group cpu cfs_quota_us; then
    if [ -e "$dir/cpu.max" ]; then
        echo 100000 100000 >"$dir/cpu.max"
    else
        echo 100000 >"$dir/cpu.cfs_quota_us" # of a period of 100000
    fi
    inside doctor --json
    holds 'quota == 1 && threads == 1' 'a quota of one CPU leaves one thread'
    [ "$(field read_file)" = ./large ]
    result $? 'doctor: reads the largest file of the directory'
else
    skip 'doctor with a CPU quota' 'no control group can be made here'
fi
if group memory limit_in_bytes; then
    limit_memory 67108864
    inside doctor --json -t 1 # a probe of the usual size would be killed
    holds 'limit == 67108864 && free <= limit' 'a limit of 64 MiB is seen'
else
    skip 'doctor with a memory limit' 'no control group can be made here'
fi

# ---- wrong ----

input 'doctor: missing model' 'missing.gguf: no such file*' doctor -m missing.gguf
usage 'doctor: two models' "unexpected argument 'b'*" doctor -m a b
: >empty.gguf
input 'doctor: no model at all' 'empty.gguf: *empty*' doctor empty.gguf

echo "1..$(cat "$tmp/.count")"
