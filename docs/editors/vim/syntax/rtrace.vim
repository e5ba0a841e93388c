" Made by `cargo xtask docs` from the tables of the code: change it there.
if exists('b:current_syntax')
  finish
endif

setlocal commentstring=//\ %s
syntax case match
syntax sync minlines=100

syntax match rtraceKeyword /\v<(break|catch|comptime|config|continue|else|enum|fn|for|if|import|let|macro|offsetof|return|sizeof|struct|try|typedef)>/
syntax match rtraceKeyword /\v<(typeinfo|typeof|union|unroll|while)>/
syntax match rtraceValue /\v<(false|true)>/
syntax match rtraceType /\v<(bool|char|int|int16|int32|int64|int8|long|short|string|uint16|uint32|uint64|uint8|unsigned|void)>/
syntax match rtraceAggregation /\v<(avg|count|hist|lhist|llquantize|lquantize|max|min|quantiles|quantize|stats|stddev|sum|tseries)>/
syntax match rtraceFunction /\v<(S_ISBLK|S_ISCHR|S_ISDIR|S_ISFIFO|S_ISLNK|S_ISREG|S_ISSOCK|alloca|assert|assert_str|basename|bcopy|bswap|buf|cat)>/
syntax match rtraceFunction /\v<(cgroup_path|cgroupid|cleanpath|clear|commit|container_of|copyin|copyinstr|copyinto|copyout|copyoutstr|d_path|debugf)>/
syntax match rtraceFunction /\v<(defined|delete|denormalize|dirname|discard|entry|errorf|fail|find|freopen|getmajor|getminor|getopt|glob|has_key|htonl)>/
syntax match rtraceFunction /\v<(htonll|htons|index|inet_ntoa|inet_ntoa6|inet_ntop|is_array|is_err|is_integer|is_literal|is_ptr|is_scalar|is_str)>/
syntax match rtraceFunction /\v<(is_unsigned_integer|join|kaddr|kfunc_allowed|kfunc_exist|kptr|ksym|len|link_ntop|lltostr|macaddr|memcmp|mod|mutex_owned)>/
syntax match rtraceFunction /\v<(mutex_owner|normalize|ntohl|ntohll|ntohs|ntop|override|path|pcap|percpu_kaddr|pid2execname|pid2task|print|print_joined)>/
syntax match rtraceFunction /\v<(printa|printf|progenyof|pton|raise|reg|rindex|signal|signal_name|signal_thread|skboutput|socket_cookie|speculate)>/
syntax match rtraceFunction /\v<(static_assert|str|str_concat|strcap|strchr|strcontains|strerror|strftime|stringof|strjoin|strlen|strncmp|strrchr|strstr)>/
syntax match rtraceFunction /\v<(strtok|substr|sym|syscall_name|system|time|trace|tracemem|trunc|uaddr|ufunc|umod|unwatch|uptr|usym|warnf|write_user|zero)>/
syntax match rtraceBuiltin /\v<(args|caller|cgroup|comm|cpid|cpu|curtask|curthread|cwd|default_str_length|dw_ustack|elapsed|errno|execargs|execname|exit)>/
syntax match rtraceBuiltin /\v<(fds|func|gid|has_cpid|jiffies|kstack|leader_comm|leader_tid|ncpus|nsecs|numaid|pcomm|pid|pidns|ppid|probe|probefunc)>/
syntax match rtraceBuiltin /\v<(probemod|probename|probeprov|probetype|rand|retval|root|speculation|stack|stackdepth|stop|syscall_number|tid|timestamp)>/
syntax match rtraceBuiltin /\v<(ucaller|uid|uregs|usermode|username|ustack|ustackdepth|vtimestamp|walltimestamp)>/
syntax match rtraceBuiltin /\v<arg\d+>/
syntax match rtraceNumber /\v<\d\w*/
syntax match rtraceMember /\v(-\>|\.)\s*\zs\h\w*/
syntax match rtraceVariable /\v\$(#|\$?\d+|\h\w*)/
syntax match rtraceMap /\v\@\w*/
syntax match rtraceProbe /\v<(uretprobe|uprobe|iter|usdt|it|ur|U|u):[^[:space:],;{<]*/
syntax match rtraceProbe /\v<(rawtracepoint|tracepoint|watchpoint|kretprobe|hardware|interval|kretfunc|lockstat|software|profile|syscall|dtrace|fentry|kprobe|rawfbt|BEGIN|bench|fexit|kfunc|rawtp|sched|proc|self|test|END|fbt|sdt|tcp|udp|fr|io|ip|kr|rt|f|h|i|k|p|s|t|w):[^[:space:],;{<\/]+/
syntax match rtraceProbe /\v<pid(\$target|\d+):[^[:space:],;{<\/]+/
syntax match rtraceProbe /\v<(BEGIN|END)>/
syntax match rtraceProbe /\v<(profile|tick)-\d\w*/
syntax match rtracePreprocessor /\v^\s*#.*/
syntax match rtraceEscape contained /\v\\./
syntax match rtracePlaceholder contained /\v\%[-+ #0]*(\*|\d+)?(\.\d+)?[hlzjtq]*(rx|rh|gr|\a|\%)/
syntax region rtraceString start=/"/ skip=/\\./ end=/"/ oneline contains=rtraceEscape,rtracePlaceholder
syntax match rtraceString /\v'(\\[^']*|[^'\\])'/
syntax match rtraceComment /\v\/\/.*/
syntax region rtraceComment start=/\/\*/ end=/\*\//

highlight default link rtraceKeyword Keyword
highlight default link rtraceValue Boolean
highlight default link rtraceType Type
highlight default link rtraceAggregation Function
highlight default link rtraceFunction Function
highlight default link rtraceBuiltin Constant
highlight default link rtraceNumber Number
highlight default link rtraceVariable Identifier
highlight default link rtraceMap Identifier
highlight default link rtraceProbe Special
highlight default link rtracePreprocessor PreProc
highlight default link rtraceEscape SpecialChar
highlight default link rtracePlaceholder SpecialChar
highlight default link rtraceString String
highlight default link rtraceComment Comment

let b:current_syntax = 'rtrace'
