-- Storage classes
-- Classes differ in price, in minimum sizes and times, and in whether they can be read at all.
SELECT class, count(*) AS versions, sum(size) AS bytes, sum(latest) AS current, date(min(modified), 'unixepoch') AS oldest FROM objects
WHERE marker = 0 GROUP BY class ORDER BY bytes DESC
