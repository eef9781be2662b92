-- A fact is parked once, whatever carries it: in the partitions of another carrier it comes again under another number.
DELETE FROM feed_parked WHERE EXISTS (
    SELECT 1 FROM feed_parked AS earlier
    WHERE earlier.projection = feed_parked.projection AND earlier.source = feed_parked.source
        AND earlier.position = feed_parked.position AND earlier.place < feed_parked.place);
CREATE UNIQUE INDEX feed_parked_fact ON feed_parked(projection, source, position);
