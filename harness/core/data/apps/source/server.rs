//! A small HTTP server on the standard library alone: a thread for each connection, and what they count together.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

/// Primes below `n`, counted in parts by threads of their own.
fn primes(n: u32) -> usize {
    const PARTS: u32 = 2;
    let (sender, receiver) = mpsc::channel();
    for part in 0..PARTS {
        let sender = sender.clone();
        thread::spawn(move || {
            let divides = |i: u32| (2..).take_while(move |d| d * d <= i).any(move |d| i % d == 0);
            let count = (2 + part..n).step_by(PARTS as usize).filter(|&i| !divides(i)).count();
            sender.send(count).unwrap();
        });
    }
    drop(sender);
    receiver.iter().sum()
}

fn fibonacci(n: u32) -> u128 {
    (0..n).fold((0u128, 1u128), |(a, b), _| (b, a + b)).0
}

fn answer(path: &str, asked: &Mutex<u64>) -> Option<String> {
    *asked.lock().unwrap() += 1;
    let (kind, word) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    match kind {
        "fibonacci" => word.parse().ok().filter(|&n| n < 186).map(|n| fibonacci(n).to_string()),
        "primes" => word.parse().ok().map(|n| primes(n).to_string()),
        "sorted" => {
            let mut letters: Vec<char> = word.chars().collect();
            letters.sort_unstable();
            Some(letters.into_iter().collect())
        }
        _ => None,
    }
}

fn serve(line: TcpStream, asked: &Mutex<u64>) -> std::io::Result<()> {
    line.set_nodelay(true)?;
    let mut out = line.try_clone()?;
    let mut lines = BufReader::new(line).lines();
    while let Some(first) = lines.next() {
        let first = first?;
        let path = first.split(' ').nth(1).unwrap_or("/");
        let mut last = false;
        for header in lines.by_ref() {
            let header = header?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            last |= header == "connection: close";
        }
        let (status, body) = match answer(path, asked) {
            Some(text) => ("200 OK", text),
            None => ("404 Not Found", "no such thing".to_string()),
        };
        let head = format!("HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n", status, body.len() + 1);
        out.write_all(format!("{}{}\n", head, body).as_bytes())?;
        if last {
            break;
        }
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let asked = Arc::new(Mutex::new(0));
    for line in TcpListener::bind("0.0.0.0:8000")?.incoming() {
        let (line, asked) = (line?, Arc::clone(&asked));
        thread::spawn(move || serve(line, &asked));
    }
    Ok(())
}
