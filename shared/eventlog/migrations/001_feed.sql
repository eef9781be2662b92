-- Facts of other services that this one could not handle, with those behind them in their lanes.
CREATE TABLE feed_parked(
    projection TEXT NOT NULL, source TEXT NOT NULL, partition BIGINT NOT NULL, position BIGINT NOT NULL,
    lane TEXT NOT NULL, cause TEXT NOT NULL, error TEXT NOT NULL, parked_at BIGINT NOT NULL, fact BLOB NOT NULL,
    PRIMARY KEY(projection, source, partition, position));
CREATE INDEX feed_parked_lane ON feed_parked(projection, lane, position);
-- What operators did about them, and about sources: who, when, what.
CREATE TABLE feed_actions(
    action_id BLOB PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, request_id TEXT NOT NULL,
    action TEXT NOT NULL, projection TEXT NOT NULL, source TEXT NOT NULL, partition BIGINT NOT NULL,
    position BIGINT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX feed_actions_projection ON feed_actions(projection, source, position);
