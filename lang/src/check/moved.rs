//! Where a member is that a struct does not have itself: kernels rename members, put them into structs of their own and take
//! them behind pointers. A place is looked up in the types at hand before it is named.

use crate::types::{Field, StructRef, Type};

/// How many places are named.
const MOST: usize = 3;
/// Structs in structs are followed so far; the kernel's own nest less.
const DEPTH: usize = 5;

/// Members that go by other names on other kernels: the struct, and the places that the member had, oldest first. Found by
/// comparing the types of Linux 5.10, 6.1, 6.12, 6.18 and 7.2; those before 5.10 are from the kernel's history. No row is
/// needed where names differ by underscores alone, or where a member went into a struct inside.
pub const RENAMED: &[(&str, &[&str])] = &[
    ("bio", &["bi_disk", "bi_bdev->bd_disk"]),
    ("block_device", &["bd_inode", "bd_mapping->host"]),
    ("cfs_rq", &["h_nr_running", "h_nr_queued"]),
    ("cfs_rq", &["nr_running", "nr_queued"]),
    ("cgroup", &["ancestor_ids", "ancestors"]),
    ("dentry", &["d_child", "d_sib"]),
    ("dentry", &["d_iname", "d_shortname.string"]),
    ("dentry", &["d_subdirs", "d_children"]),
    ("file", &["f_count", "f_ref"]),
    ("inet_sock", &["inet_daddr", "sk.__sk_common.skc_daddr"]),
    ("inet_sock", &["inet_dport", "sk.__sk_common.skc_dport"]),
    ("inet_sock", &["inet_num", "sk.__sk_common.skc_num"]),
    ("inet_sock", &["inet_rcv_saddr", "sk.__sk_common.skc_rcv_saddr"]),
    ("inode", &["i_atime.tv_sec", "__i_atime.tv_sec", "i_atime_sec"]),
    ("inode", &["i_ctime.tv_sec", "__i_ctime.tv_sec", "i_ctime_sec"]),
    ("inode", &["i_mtime.tv_sec", "__i_mtime.tv_sec", "i_mtime_sec"]),
    ("mm_struct", &["mmap", "mm_mt"]),
    ("mm_struct", &["mmap_sem", "mmap_lock"]),
    ("module", &["core_layout", "mem"]),
    ("net", &["count", "ns.count", "ns.__ns_ref"]),
    ("page", &["index", "__folio_index"]),
    ("page", &["mem_cgroup", "memcg_data"]),
    ("request", &["rq_disk", "q->disk"]),
    ("request_queue", &["backing_dev_info", "disk->bdi"]),
    ("signal_struct", &["group_exit_task", "group_exec_task"]),
    ("task_struct", &["cpus_allowed", "cpus_mask"]),
    ("task_struct", &["real_start_time", "start_boottime"]),
];

/// The members of structs, as far as they are known.
pub struct Members<'a>(pub &'a dyn Fn(&StructRef) -> Vec<Field>);

impl Members<'_> {
    /// What to say of the places where the member is, if there are any.
    pub fn help(&self, of: &StructRef, name: &str) -> Option<String> {
        if let Some(places) = said(&self.renamed(of, name)) {
            return Some(format!("here it is {places}"));
        }
        let inside = self.inside(of, name);
        if let Some(places) = said(&inside) {
            let intro = if inside.len() == 1 { "here it is" } else { "members of this name:" };
            return Some(format!("{intro} {places}"));
        }
        said(&self.behind_pointers(of, name)).map(|places| format!("what a member points to has it: {places}"))
    }

    /// Under another name.
    fn renamed(&self, of: &StructRef, name: &str) -> Vec<String> {
        let bare = name.trim_start_matches('_');
        for field in self.all(of) {
            if field.name.trim_start_matches('_') == bare {
                return vec![field.name.to_string()];
            }
        }
        let rows = RENAMED
            .iter()
            .filter(|(known, places)| **known == *of.name && places.iter().any(|place| first(place) == name));
        let others = rows.flat_map(|(_, places)| places.iter()).filter(|place| first(place) != name);
        let mut found: Vec<String> =
            others.filter(|place| self.is_place(of, place)).map(|place| place.to_string()).collect();
        // What the kernel's own sources write as sk->sk_family and so on are macros.
        if let Some(rest) = name.strip_prefix("sk_") {
            let common = format!("__sk_common.skc_{rest}");
            if self.is_place(of, &common) {
                found.push(common);
            }
        }
        found
    }

    /// In structs inside, the nearest.
    fn inside(&self, of: &StructRef, name: &str) -> Vec<String> {
        let mut level = vec![(String::new(), of.clone())];
        for _ in 0..DEPTH {
            let mut deeper = Vec::new();
            for (path, of) in &level {
                for field in self.all(of) {
                    if let Type::Struct(inner) = &field.ty {
                        deeper.push((format!("{path}{}.", field.name), inner.clone()));
                    }
                }
            }
            let with = deeper.iter().filter(|(_, of)| self.member(of, name).is_some());
            let found: Vec<String> = with.map(|(path, _)| format!("{path}{name}")).collect();
            if !found.is_empty() {
                return found;
            }
            level = deeper;
        }
        Vec::new()
    }

    fn behind_pointers(&self, of: &StructRef, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for field in self.all(of) {
            if let Type::Pointer { to, .. } = &field.ty
                && let Type::Struct(inner) = &**to
                && inner != of
                && self.member(inner, name).is_some()
            {
                found.push(format!("{}->{name}", field.name));
            }
        }
        found
    }

    /// Whether a place leads to a member.
    pub fn is_place(&self, of: &StructRef, place: &str) -> bool {
        let mut of = of.clone();
        let mut steps = place.split(['.', '>']).map(|step| step.trim_end_matches('-')).peekable();
        while let Some(step) = steps.next() {
            let Some(field) = self.member(&of, step) else { return false };
            of = match field.ty {
                _ if steps.peek().is_none() => return true,
                Type::Struct(inner) => inner,
                Type::Pointer { to, .. } => match &*to {
                    Type::Struct(inner) => inner.clone(),
                    _ => return false,
                },
                _ => return false,
            };
        }
        false
    }

    /// The member that a name reaches, through anonymous members where needed; its place is that in the whole struct.
    pub fn member(&self, of: &StructRef, name: &str) -> Option<Field> {
        for field in (self.0)(of) {
            if *field.name == *name {
                return Some(field);
            }
            if let (true, Type::Struct(inner)) = (field.name.is_empty(), &field.ty)
                && let Some(found) = self.member(inner, name)
            {
                return Some(Field { bit_offset: field.bit_offset + found.bit_offset, ..found });
            }
        }
        None
    }

    /// The members by name, those of anonymous members among them.
    pub fn all(&self, of: &StructRef) -> Vec<Field> {
        let mut all = Vec::new();
        self.collect(of, &mut all, DEPTH);
        all
    }

    fn collect(&self, of: &StructRef, all: &mut Vec<Field>, depth: usize) {
        for field in (self.0)(of) {
            match &field.ty {
                Type::Struct(inner) if field.name.is_empty() => {
                    if depth > 0 {
                        self.collect(inner, all, depth - 1);
                    }
                }
                _ => all.push(field),
            }
        }
    }
}

fn first(place: &str) -> &str {
    place.split(['.', '-']).next().unwrap_or_default()
}

fn said(places: &[String]) -> Option<String> {
    let some: Vec<String> = places.iter().take(MOST).map(|place| format!("`{place}`")).collect();
    match places.len() {
        0 => None,
        count if count > MOST => Some(format!("{}, ...", some.join(", "))),
        _ => Some(some.join(" or ")),
    }
}
