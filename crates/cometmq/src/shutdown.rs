//! When to stop: at Ctrl-C and SIGTERM.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Resolves when the process shall stop. Cheap to clone.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Listens for signals from here on. The second one ends the process at once, for whoever can't wait.
    pub fn on_signals() -> io::Result<Shutdown> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let mut next = async || tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 };
            next().await;
            stop.send_replace(true);
            std::process::exit(next().await);
        });
        Ok(Shutdown(stopped))
    }

    /// Waits until the process shall stop.
    pub async fn requested(mut self) {
        // An error means that nobody can ask any more; then it is time as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
