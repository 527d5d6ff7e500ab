-- Objects up to 64 KiB, by first directory
-- Their requests cost more than their bytes. Holdall keeps each whole in its manifest, one block.
SELECT substr(key, 1, instr(key, '/')) AS prefix, count(*) AS objects, sum(size) AS bytes, avg(size) AS mean FROM current
WHERE size <= 65536 GROUP BY prefix ORDER BY objects DESC LIMIT :limit
