//! Runs a container from one thread of a program, with a second process in it.
//!
//! ```text
//! cargo run --example run -- STATE-DIRECTORY BUNDLE ID
//! ```

use bulkhead::{CreateOptions, ExecOptions, ForkServer, Runtime, Signal};

/// Creates, starts, enters and deletes the container.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First of all: workers are cloned from a process that has one thread.
    let server = ForkServer::start()?;

    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, bundle, id] = args.as_slice() else { return Err("run ROOT BUNDLE ID".into()) };
    let runtime = Runtime::with_fork_server(root, &server)?;

    std::thread::scope(|scope| {
        scope.spawn(|| println!("another thread does other things"));
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
        lifecycle.join().expect("no panic")
    })?;
    Ok(())
}
