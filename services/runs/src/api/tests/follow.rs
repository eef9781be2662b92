//! Logs: each byte once, the tail, the live end.

use futures_util::StreamExt;

use super::*;

async fn read(fixture: &Fixture, run_id: &str, tail_bytes: u64) -> Vec<LogChunk> {
    let request = ReadLogsRequest {
        workspace: WORKSPACE.into(),
        run_id: run_id.into(),
        tail_bytes,
        ..ReadLogsRequest::default()
    };
    let stream = fixture.api.read_logs(Request::new(request)).await.unwrap().into_inner();
    stream.map(Result::unwrap).collect().await
}

fn text(chunks: &[LogChunk]) -> String {
    String::from_utf8(chunks.iter().flat_map(|chunk| chunk.data.clone()).collect()).unwrap()
}

#[tokio::test]
async fn bytes_that_come_twice_are_kept_once() {
    // An agent that sends its last segment again after a crash must not double lines.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    assert_eq!(fixture.append(&run_id, 0, "one\n").await, Ok(4));
    assert_eq!(fixture.append(&run_id, 0, "one\ntwo\n").await, Ok(8));
    assert_eq!(fixture.append(&run_id, 2, "e\n").await, Ok(8));
    let gap = fixture.append(&run_id, 9, "x").await.unwrap_err();
    assert_eq!((gap.code.as_str(), &gap.extra["expected"]), ("OffsetGap", &serde_json::json!(8)));
    fixture.end(&run_id, "Completed").await.unwrap();
    assert_eq!(fixture.append(&run_id, 8, "late\n").await, Ok(13), "last lines come after the end");
    let chunks = read(&fixture, &run_id, 0).await;
    assert_eq!(text(&chunks), "one\ntwo\nlate\n");
    assert_eq!(chunks.iter().map(|chunk| chunk.offset).collect::<Vec<_>>(), [0, 4, 8]);
    assert_eq!(text(&read(&fixture, &run_id, 7).await), "o\nlate\n");
    assert_eq!(read(&fixture, &run_id, 7).await[0].offset, 6);
    assert_eq!(text(&read(&fixture, &run_id, 1_000).await), "one\ntwo\nlate\n");
}

#[tokio::test]
async fn whoever_was_cut_off_goes_on_behind_the_last_byte() {
    // `run logs -f` over a restart of the server must neither repeat a line nor lose one, whatever was written between.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    fixture.append(&run_id, 0, "one\ntwo\n").await.unwrap();
    fixture.append(&run_id, 8, "three\n").await.unwrap();
    fixture.end(&run_id, "Completed").await.unwrap();
    let whole = "one\ntwo\nthree\n";
    for offset in 0..=whole.len() + 2 {
        let request = ReadLogsRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.clone(),
            follow: true,
            offset: offset as u64,
            ..ReadLogsRequest::default()
        };
        let stream = fixture.api.read_logs(Request::new(request)).await.unwrap().into_inner();
        let chunks: Vec<LogChunk> = stream.map(Result::unwrap).collect().await;
        assert_eq!(text(&chunks), whole.get(offset..).unwrap_or_default());
    }
    let both =
        ReadLogsRequest { workspace: WORKSPACE.into(), run_id, offset: 1, tail_bytes: 1, ..ReadLogsRequest::default() };
    let Err(refused) = fixture.api.read_logs(Request::new(both)).await else { panic!("two ends at once") };
    assert_eq!(contracts::problem_of(&refused).code, "Conflict");
}

#[tokio::test]
async fn a_follower_sees_lines_as_they_come_and_the_end() {
    // `run logs --follow` must show a line at once and end by itself.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    fixture.append(&run_id, 0, "before\n").await.unwrap();
    let request = ReadLogsRequest {
        workspace: WORKSPACE.into(),
        run_id: run_id.clone(),
        follow: true,
        ..ReadLogsRequest::default()
    };
    let mut stream = fixture.api.read_logs(Request::new(request.clone())).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap().data, b"before\n");
    fixture.append(&run_id, 7, "after\n").await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().data, b"after\n");
    fixture.append(&run_id, 13, "last\n").await.unwrap();
    fixture.end(&run_id, "Failed").await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().data, b"last\n");
    assert!(stream.next().await.is_none());
    let ended: Vec<_> = fixture.api.read_logs(Request::new(request)).await.unwrap().into_inner().collect().await;
    assert_eq!(ended.len(), 3, "what has ended is not waited for");
    let request = ReadLogsRequest {
        workspace: WORKSPACE.into(),
        run_id: fixture.own_run().await,
        follow: true,
        ..ReadLogsRequest::default()
    };
    let mut waiting = fixture.api.read_logs(Request::new(request)).await.unwrap().into_inner();
    fixture.shutdown.request();
    assert!(waiting.next().await.is_none(), "a follower does not hold up the end of the server");
}

#[tokio::test]
async fn a_stream_is_kept_up_to_its_limit() {
    // A training that prints without end must not fill the disk, and the reader must be told.
    let fixture = Fixture::new().await;
    let run = vocabulary::RunId::parse(&fixture.own_run().await).unwrap();
    let (stream, mut at) = (crate::run::stream(run), 0);
    for data in ["0123456", "789abcdef", "more"] {
        let append = crate::logs::store::Append {
            limit: 10,
            ..crate::logs::store::Append::new(WORKSPACE.into(), run, 1, "stdout".into(), Some(at), data.into())
        };
        let append = Arc::new(append);
        let context = eventlog::Context::new(Uuid::from_u128(u128::from(at) + 1), "test", "");
        let work = fixture.log().record::<crate::run::Run, _>(&stream, None, context, move |state, tx| {
            let append = Arc::clone(&append);
            Box::pin(async move { crate::logs::store::append(&append, state, tx).await })
        });
        work.await.unwrap();
        at += data.len() as u64;
    }
    let kept = text(&read(&fixture, &run.to_string(), 0).await);
    assert_eq!(kept, "0123456789\n[trialog] 10 bytes of this stream are kept; what follows is dropped\n");
    assert_eq!(fixture.append(&run.to_string(), at, "").await, Ok(at), "the agent goes on after what was dropped");
}

#[tokio::test]
async fn text_without_an_offset_goes_to_the_end() {
    // Whoever sends lines by hand counts no bytes; taken for the beginning, each line hid the one before.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let append = async |offset: u64, at_end: bool, data: &str| {
        let (workspace, run_id, stream) = (WORKSPACE.to_owned(), run_id.clone(), "stdout".to_owned());
        let data = data.as_bytes().to_vec();
        let request = AppendLogsRequest { workspace, run_id, stream, offset, data, at_end, ..Default::default() };
        answer(fixture.api.append_logs(Request::new(request)).await).unwrap().next_offset
    };
    assert_eq!(append(0, true, "first\n").await, 6);
    assert_eq!(append(0, true, "second\n").await, 13);
    assert_eq!(append(6, false, "second\nthird\n").await, 19, "what is there already is skipped");
}
