//! Runs a container from a second thread of a program, and another process in the container.
//!
//! ```text
//! cargo run --example run -- STATE-DIRECTORY BUNDLE ID
//! ```

use bulkhead::{CreateOptions, ExecOptions, ForkServer, Runtime, Signal};

/// Creates and starts the container, runs another process in it, and deletes it.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First of all, because it executes the program again: no container can overwrite its file.
    bulkhead::protect_executable()?;
    // Workers are cloned from a process that has one thread.
    let server = ForkServer::start()?;

    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, bundle, id] = args.as_slice() else { return Err("run ROOT BUNDLE ID".into()) };
    let runtime = Runtime::with_fork_server(root, &server)?;

    std::thread::scope(|scope| {
        let lifecycle = scope.spawn(|| -> bulkhead::Result<()> {
            // The container's init is a child of this program. It waits for `start`.
            let init = runtime.create(id, &CreateOptions::new(bundle))?;
            let container = runtime.container(id)?;
            container.start()?;
            println!("{id} is {}, its process is {}", container.status()?, init.id());

            let command = ExecOptions::new(["sh", "-c", "echo hello; exit 7"]);
            println!("the other process: {}", container.exec(&command)?.wait()?);

            container.kill(Signal::KILL)?;
            println!("the container: {}", init.wait()?);
            container.delete()
        });
        Ok(lifecycle.join().expect("no panic")?)
    })
}
