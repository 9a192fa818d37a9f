# Runs a command while others run.   $1 directory   $2 largest file, in blocks of 512 bytes   $3 word   $4 command
unset http_proxy https_proxy ftp_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY
{ printf 1000 >/proc/self/oom_score_adj; } 2>/dev/null
ulimit -c 0 2>/dev/null
ulimit -f "$2" 2>/dev/null
(
    cd -- "$1" || exit 126
    exec /bin/sh -c "$4"
) 2>&1 </dev/null
printf '\n%s %s\n' "$3" "$?"
