" Made by `cargo xtask docs`.
autocmd BufRead,BufNewFile *.rt,*.bt setfiletype rtrace
autocmd BufRead,BufNewFile * if getline(1) =~# '^#!.*\<\(rtrace\|bpftrace\)\>' | setfiletype rtrace | endif
