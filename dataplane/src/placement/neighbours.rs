//! Data cores of other processes on the same CPUs: each would have half of a core, and neither would know why.

use std::fs;
use std::path::Path;

/// What the thread that polls on `cpu` is called, by which others find it.
pub fn thread_name(cpu: usize) -> String {
    format!("wp-data-{cpu}")
}

/// Which of `cpus` data cores of other processes poll as well, each with the process. `proc` is `/proc`; who
/// may not see a process there does not see its cores either.
pub fn polled_by_others(proc: &Path, own_pid: u32, cpus: &[usize]) -> Vec<(usize, u32)> {
    let mut found: Vec<(usize, u32)> = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own_pid)
        .flat_map(|pid| {
            let names = thread_names(&proc.join(pid.to_string()).join("task"));
            let polls = move |cpu: &&usize| names.contains(&thread_name(**cpu));
            cpus.iter().filter(polls).map(move |cpu| (*cpu, pid)).collect::<Vec<_>>()
        })
        .collect();
    found.sort_unstable();
    found
}

/// A process or a thread that ends meanwhile has none.
fn thread_names(tasks: &Path) -> Vec<String> {
    let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_cores_of_other_processes_on_these_cpus_are_found() {
        let proc = tempfile::tempdir().unwrap();
        let thread = |pid: u32, tid: u32, name: &str| {
            let task = proc.path().join(format!("{pid}/task/{tid}"));
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("comm"), format!("{name}\n")).unwrap();
        };
        thread(10, 10, "wirepace");
        thread(10, 11, "wp-data-1");
        thread(20, 20, "wirepace");
        thread(20, 21, "wp-data-1");
        thread(20, 22, "wp-data-12");
        thread(30, 30, "wp-data-3");
        thread(40, 40, "bash");
        fs::create_dir_all(proc.path().join("50")).unwrap();
        fs::create_dir_all(proc.path().join("sys")).unwrap();
        let found = |own, cpus: &[usize]| polled_by_others(proc.path(), own, cpus);
        assert_eq!(found(10, &[1, 2]), [(1, 20)]);
        assert_eq!(found(20, &[1, 3]), [(1, 10), (3, 30)]);
        assert_eq!(found(10, &[2]), []);
        assert_eq!(polled_by_others(&proc.path().join("absent"), 1, &[1]), []);
    }
}
