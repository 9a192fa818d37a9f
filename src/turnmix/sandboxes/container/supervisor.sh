# Process 1 of a container, in POSIX shell: it runs commands one after the other, kills what a command or
# terminal started, and ends, and with it every process inside, when the host hangs up.
#
#   $1  largest file, in blocks of 512 bytes
#   standard input   a word that no output holds by accident, and no command line shows; then lines of shell code
#                    from the host, which it trusts
#   standard output  the current command's output, then a line break, "WORD NUMBER EXIT-CODE" and a line break;
#                    "WORD free", in the same way, when nothing holds the output open any more
#   standard error   "WORD NUMBER 0": the answer to a request; all else is noise
#
# Two processes share the work. `watch` reads the host's lines and does what needs no further process, so that
# it works when the agent's processes leave no room for one; `work` gets the lines that start commands. Both
# are parts of a foreground pipeline: what a shell starts by & ignores interrupts for ever.

newline='
'
IFS= read -r word || exit
unset http_proxy https_proxy ftp_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY
# As low as anything inside can: refused, but where the runtime itself lacked the right to set the least.
{ printf 0 >/proc/self/oom_score_adj; } 2>/dev/null
ulimit -c 0 2>/dev/null
ulimit -f "$1" 2>/dev/null
[ -d /testbed ] || mkdir -p /testbed
# Podman makes terminals with a limit for root alone.
[ -x /bin/chmod ] && /bin/chmod 666 /dev/pts/ptmx 2>/dev/null
exec 3<&0 4>&2 </dev/null

answer() { # NUMBER
    printf '%s\n' "$word $1 0" >&4
}

# Where memory is short, of this container or of the machine, a command is killed before what runs it.
first_to_be_killed() {
    { printf 1000 >/proc/self/oom_score_adj; } 2>/dev/null
}

job() { # NUMBER DIRECTORY COMMAND INPUT EXPORTS
    {
        (
            exec 3<&- 4>&-
            first_to_be_killed
            export "SANDBOX_JOB=$1."
            eval "$5"
            cd -- "$2" || exit 126
            exec /bin/sh -c "$3" <"$4"
        ) 2>&1
        printf '%s' "$newline$word $1 $?$newline"
    } | cat 4>&-
    [ "$4" = /dev/null ] || rm -f -- "$4"
    printf '%s' "$newline$word free$newline"
    is_done=yes
}

# Leaves in $members the processes that carry $1 in their environment, and their descendants; in $leaders
# those that were started from outside, which are the terminals' shells.
family() {
    members=' '
    leaders=' '
    known=
    until [ "$known" = "$members" ]; do
        known=$members
        for entry in /proc/[0-9]*; do
            pid=${entry#/proc/}
            case $members in *" $pid "*) continue ;; esac
            state=Z
            parent=
            while read -r key value rest; do
                case $key in
                    State:) state=$value ;;
                    PPid:) parent=$value && break ;;
                esac
            done 2>/dev/null <"$entry/status"
            [ "$state" = Z ] && continue
            case $members in
                *" $parent "*) members="$members$pid " ;;
                *)
                    while IFS= read -r line || [ "$line" ]; do
                        case $line in *"$1"*) members="$members$pid " && break ;; esac
                    done 2>/dev/null <"$entry/environ"
                    ;;
            esac
            case $parent-$members in 0-*" $pid "*) leaders="$leaders$pid " ;; esac
        done
    done
}

# All are stopped before any is killed, so that a fork bomb cannot outrun the killing.
end() { # MARK [spare the leaders]
    stopped=' '
    for round in 1 2 3 4 5 6 7 8 9; do
        family "$1"
        fresh=
        for pid in $members; do
            case "$2$leaders" in spare*" $pid "*) continue ;; esac
            case $stopped in *" $pid "*) ;; *) fresh="$fresh$pid " ;; esac
        done
        [ "$fresh" ] || break
        kill -STOP $fresh
        stopped="$stopped$fresh"
    done 2>/dev/null
    [ "$stopped" = ' ' ] || kill -KILL $stopped 2>/dev/null
}

# A shell goes on with its next command unless it is interrupted before the one it waits for has ended.
interrupt() { # MARK
    family "$1"
    kill -INT $leaders 2>/dev/null
    kill -INT $members 2>/dev/null
}

cut() { # the pid of `work`, whose only child left is the one that passes output on
    for entry in /proc/[0-9]*; do
        while read -r key value rest; do
            [ "$key" = PPid: ] && break
        done 2>/dev/null <"$entry/status"
        [ "$value" = "$1" ] && kill -KILL "${entry#/proc/}"
    done 2>/dev/null
}

has_room() {
    for group in /sys/fs/cgroup /sys/fs/cgroup/pids; do
        { read -r current <"$group/pids.current" && read -r most <"$group/pids.max"; } 2>/dev/null || continue
        [ "$most" = max ] || [ "$((most - current))" -ge 8 ]
        return
    done
    return 0
}

make_room() {
    has_room || end SANDBOX_JOB= spare
}

# Ends what holds more terminals than it may, and the container where they are still held the next time.
few_terminals() { # MOST
    set -- "$1" /dev/pts/[0-9]*
    if [ "$(($# - 1))" -le "$1" ]; then
        is_warned=
    elif [ "$is_warned" ]; then
        printf 'exit 77\n'
    else
        is_warned=yes
        end SANDBOX_JOB=
    fi
}

watch() {
    is_warned=
    while IFS= read -r request; do
        case $request in
            'job '*)
                make_room
                printf '%s\n' "$request"
                ;;
            *) command eval "$request" ;;
        esac
    done
    end SANDBOX_JOB=
    printf 'exit 77\n'
}

work() {
    read -r pid rest </proc/self/stat
    printf '%s' "$newline$word ready $pid$newline"
    while IFS= read -r request; do
        is_done=
        command eval "$request"
        [ "$is_done" ] || printf '%s' "$newline$word failed$newline"
    done
}

while :; do
    watch <&3 3<&- | work 3<&-
    [ "$?" = 77 ] && exit 0
done
