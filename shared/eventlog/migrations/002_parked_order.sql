-- The order in which a lane's facts are handled is that in which they were parked; clocks go back. Those that are
-- parked already keep the order in which they would have been handled.
ALTER TABLE feed_parked ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
UPDATE feed_parked SET place = ordered.place FROM (
    SELECT projection, source, partition, position,
        row_number() OVER (PARTITION BY projection ORDER BY parked_at, position) AS place
    FROM feed_parked) AS ordered
WHERE feed_parked.projection = ordered.projection AND feed_parked.source = ordered.source
    AND feed_parked.partition = ordered.partition AND feed_parked.position = ordered.position;
DROP INDEX feed_parked_lane;
CREATE INDEX feed_parked_lane ON feed_parked(projection, lane, place);
CREATE INDEX feed_parked_place ON feed_parked(projection, place);
