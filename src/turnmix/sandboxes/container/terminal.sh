# Becomes an agent's shell.   $1 directory   $2 largest file, in blocks of 512 bytes   $3 word
unset http_proxy https_proxy ftp_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY
{ printf 1000 >/proc/self/oom_score_adj; } 2>/dev/null
ulimit -c 0 2>/dev/null
ulimit -f "$2" 2>/dev/null
# What holds the terminal sets it up too, when it gets hold of it: after this exchange that has happened.
printf '%s' "$3 here "
read -r answer
if [ -t 0 ] && ! stty -echo -onlcr 2>/dev/null; then
    printf '%s' "$3 bare "
    exit
fi
printf '%s' "$3 ready "
unset ENV
cd -- "$1" || exit 126
[ -x /bin/bash ] && exec /bin/bash --norc --noprofile --noediting +H -i
exec /bin/sh -i
