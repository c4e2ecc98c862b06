//! What an operator can say about the store. An empty configuration is Apache's.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::Disk;

/// When a stored message counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushDiskType {
    /// When it is on disk: a power failure loses nothing that was answered.
    #[doc(alias = "SYNC_FLUSH")]
    Sync,
    /// When the operating system has it: a killed process loses nothing, a power failure may lose the last moments.
    #[doc(alias = "ASYNC_FLUSH")]
    #[default]
    Async,
}

/// How the store keeps messages.
#[doc(alias = "MessageStoreConfig")]
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Directory of everything below. Required.
    /// Key: `storePathRootDir`. Takes effect: at restart.
    pub root: PathBuf,
    /// Directory of the commit log; `None` is `commitlog` in `root`.
    /// Key: `storePathCommitLog`. Takes effect: at restart.
    pub commit_log: Option<PathBuf>,
    /// Size of one commit log file in bytes. A store keeps the size it was made with.
    /// Key: `mappedFileSizeCommitLog`. Takes effect: at restart.
    pub commit_log_file_size: u64,
    /// Size of one consume queue file in bytes, rounded up to a multiple of an entry's 20.
    /// Key: `mappedFileSizeConsumeQueue`. Takes effect: at restart.
    pub consume_queue_file_size: u64,
    /// Are messages found by key?
    /// Key: `messageIndexEnable`. Takes effect: at restart.
    pub index_enabled: bool,
    /// Hash slots of one index file.
    /// Key: `maxHashSlotNum`. Takes effect: at restart.
    pub index_slots: u32,
    /// Entries of one index file; number 0 is never used.
    /// Key: `maxIndexNum`. Takes effect: at restart.
    pub index_entries: u32,
    /// `SYNC_FLUSH` answers a send only when the message is on disk, `ASYNC_FLUSH` answers at once.
    /// Key: `flushDiskType`. Takes effect: at restart.
    pub flush: FlushDiskType,
    /// How often `ASYNC_FLUSH` brings the commit log to disk.
    /// Key: `flushIntervalCommitLog`. Takes effect: at restart.
    pub flush_interval: Duration,
    /// Longest body in a batch, in bytes. Its records may have 64 KiB more.
    /// Key: `maxMessageSize`. Takes effect: at restart.
    pub max_message_size: usize,
    /// How long level 1, 2, … of delayed messages wait.
    /// Key: `messageDelayLevel`. Takes effect: at restart.
    pub delay_levels: Vec<Duration>,
    /// Commit log files that were last written longer ago are deleted.
    /// Key: `fileReservedTime`. Takes effect: at restart.
    pub file_reserved: Duration,
    /// With fewer free bytes on a disk of the store no messages are taken; with a quarter more they are taken again.
    /// `None`: a tenth of the disk, but at most 256 MiB.
    /// Key: `diskFreeSpaceMin` (not Apache's; 0 is `None`). Takes effect: at restart.
    pub disk_free_min: Option<u64>,
    /// While a larger part than this of a disk of the store is used (0 to 1), no messages are taken. `None`: any may be.
    /// Key: `diskSpaceWarningLevelRatio`. Takes effect: at restart.
    pub disk_used_max: Option<f64>,
    /// With `disk_used_max`: messages are taken again when this part of the disk is used, or less.
    /// Key: `diskSpaceCleanForciblyRatio`. Takes effect: at restart.
    pub disk_used_enough: f64,
    /// Are bodies compared with their checksums when the store opens after a crash?
    /// Key: `checkCRCOnRecover`. Takes effect: at restart.
    pub check_crc_on_recover: bool,
    /// How many bytes per second the scrub reads of old commit log files, to see that they are sound; 0: none.
    /// Key: `scrubBytesPerSecond`. Takes effect: at restart.
    pub scrub_rate: u64,
    /// The way to the files. No key: for tests.
    pub disk: Disk,
    /// What messages are stamped by. No key: for tests.
    pub clock: Clock,
}

impl StoreConfig {
    /// Apache's defaults, in `root`.
    pub fn new(root: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig {
            root: root.into(),
            commit_log: None,
            commit_log_file_size: 1 << 30,
            consume_queue_file_size: 300_000 * 20,
            index_enabled: true,
            index_slots: 5_000_000,
            index_entries: 20_000_000,
            flush: FlushDiskType::Async,
            flush_interval: Duration::from_millis(500),
            max_message_size: 4 << 20,
            delay_levels: [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200]
                .map(Duration::from_secs)
                .to_vec(),
            file_reserved: Duration::from_secs(72 * 3600),
            disk_free_min: None,
            disk_used_max: None,
            disk_used_enough: 0.85,
            check_crc_on_recover: true,
            scrub_rate: 8 << 20,
            disk: Disk::default(),
            clock: Clock::default(),
        }
    }

    pub(crate) fn commit_log_dir(&self) -> PathBuf {
        self.commit_log.clone().unwrap_or_else(|| self.root.join("commitlog"))
    }

    pub(crate) fn consume_queue_dir(&self) -> PathBuf {
        self.root.join("consumequeue")
    }

    pub(crate) fn index_dir(&self) -> PathBuf {
        self.root.join("index")
    }

    pub(crate) fn abort_file(&self) -> PathBuf {
        self.root.join("abort")
    }

    /// Entries of one consume queue file.
    pub(crate) fn entries_per_file(&self) -> i64 {
        (self.consume_queue_file_size.div_ceil(20)).max(1) as i64
    }
}
