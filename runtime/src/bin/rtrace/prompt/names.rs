//! The names of all probes of a provider, sorted, in one piece of memory: a kernel has hundreds of thousands.
//! Unsafe: one call of the C library that has no safe form.

use rtrace_probes::ListedProbe;

#[derive(Default)]
pub struct Names {
    text: String,
    /// Where each name ends in the text.
    ends: Vec<u32>,
}

impl Names {
    /// Of a listing, which is sorted.
    pub fn of(listed: Vec<ListedProbe>) -> Names {
        let mut names = Names { text: String::new(), ends: Vec::with_capacity(listed.len()) };
        for probe in listed {
            names.text.push_str(&probe.name);
            names.ends.push(names.text.len() as u32);
        }
        names.text.shrink_to_fit();
        give_back();
        names
    }

    fn name(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[at] as usize]
    }

    /// The names that begin with `start`, in order.
    pub fn beginning<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        let (mut first, mut end) = (0, self.ends.len());
        while first < end {
            let middle = (first + end) / 2;
            if self.name(middle) < start { first = middle + 1 } else { end = middle }
        }
        (first..self.ends.len()).map(|at| self.name(at)).take_while(move |name| name.starts_with(start))
    }
}

/// What the listing took, several times the names, goes back to the system; the allocator would keep it.
fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_so() {
        let probe = |name: &str| ListedProbe { name: name.to_string(), arguments: Vec::new() };
        let names = Names::of(["kprobe:tcp_ack", "kprobe:tcp_send", "kprobe:vfs_read"].map(probe).into());
        let beginning = |start: &str| names.beginning(start).map(str::to_string).collect::<Vec<_>>();
        assert_eq!(beginning("kprobe:tcp_"), ["kprobe:tcp_ack", "kprobe:tcp_send"]);
        assert_eq!(beginning("kprobe:vfs_read"), ["kprobe:vfs_read"]);
        assert_eq!(beginning("kprobe:"), ["kprobe:tcp_ack", "kprobe:tcp_send", "kprobe:vfs_read"]);
        assert!(beginning("kprobe:udp").is_empty() && beginning("kprobe:x").is_empty());
        assert_eq!(Names::default().beginning("").count(), 0);
    }
}
